"""Held-out metrics, baselines at the same bottleneck, and the report."""

from latticegraph.evaluation.compare import EmbeddingPairs, fit_baselines
from latticegraph.evaluation.linear_autoencoder import LinearAutoencoder
from latticegraph.evaluation.linear_baselines import (
    Baseline,
    IdentityBaseline,
    MeanBaseline,
    PcaBaseline,
)
from latticegraph.evaluation.metrics import embedding_metrics, retrieval_metrics, task_metrics
from latticegraph.evaluation.mlp_autoencoder import MlpAutoencoder
from latticegraph.evaluation.report import build_report, write_report
from latticegraph.evaluation.report_text import console_table, render_markdown, verdicts
from latticegraph.evaluation.sts import SimilarityPair, read_sts, sts_spearman

__all__ = [
    "Baseline",
    "EmbeddingPairs",
    "IdentityBaseline",
    "LinearAutoencoder",
    "MeanBaseline",
    "MlpAutoencoder",
    "PcaBaseline",
    "SimilarityPair",
    "build_report",
    "console_table",
    "embedding_metrics",
    "fit_baselines",
    "read_sts",
    "render_markdown",
    "retrieval_metrics",
    "sts_spearman",
    "task_metrics",
    "verdicts",
    "write_report",
]
