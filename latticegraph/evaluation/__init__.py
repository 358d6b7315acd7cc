"""Held-out metrics, baselines at the same bottleneck, and the report."""

from latticegraph.evaluation.baselines import fit_baselines
from latticegraph.evaluation.linear_autoencoder import LinearAutoencoder
from latticegraph.evaluation.linear_baselines import (
    Baseline,
    IdentityBaseline,
    MeanBaseline,
    PcaBaseline,
)
from latticegraph.evaluation.metric import Metric, compute_metrics
from latticegraph.evaluation.metrics import report_metrics, validation_metrics
from latticegraph.evaluation.mlp_autoencoder import MlpAutoencoder
from latticegraph.evaluation.report import build_report, write_report
from latticegraph.evaluation.report_text import console_table, render_markdown, verdicts
from latticegraph.evaluation.rows import EmbeddingSplit, Row, measure_rows
from latticegraph.evaluation.sts import SimilarityPair, read_sts, sts_spearman

__all__ = [
    "Baseline",
    "EmbeddingSplit",
    "IdentityBaseline",
    "LinearAutoencoder",
    "MeanBaseline",
    "Metric",
    "MlpAutoencoder",
    "PcaBaseline",
    "Row",
    "SimilarityPair",
    "build_report",
    "compute_metrics",
    "console_table",
    "fit_baselines",
    "measure_rows",
    "read_sts",
    "render_markdown",
    "report_metrics",
    "sts_spearman",
    "validation_metrics",
    "verdicts",
    "write_report",
]
