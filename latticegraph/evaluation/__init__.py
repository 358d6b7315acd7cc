"""Held-out metrics, baselines at the same bottleneck, and the report."""

from latticegraph.evaluation.baselines import fit_all, new_baselines
from latticegraph.evaluation.bootstrap import Difference, GroupBootstrap
from latticegraph.evaluation.decoder_network import DecoderNetwork
from latticegraph.evaluation.gate_information import GateInformation, gate_information
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
from latticegraph.evaluation.random_features import RandomFeatures
from latticegraph.evaluation.report import build_report, write_report
from latticegraph.evaluation.report_text import console_table, render_markdown
from latticegraph.evaluation.rows import (
    EmbeddingSplit,
    MeasuredRow,
    Row,
    SizedRow,
    measure_row,
    measure_rows,
)
from latticegraph.evaluation.seeds import SeedComparison, compare_seeds
from latticegraph.evaluation.spread import effective_rank, embedding_spread, pairwise_cosine
from latticegraph.evaluation.sts import SimilarityPair, read_sts, sts_spearman
from latticegraph.evaluation.verdicts import best_update, verdicts

__all__ = [
    "Baseline",
    "DecoderNetwork",
    "Difference",
    "EmbeddingSplit",
    "GateInformation",
    "GroupBootstrap",
    "IdentityBaseline",
    "LinearAutoencoder",
    "MeanBaseline",
    "MeasuredRow",
    "Metric",
    "MlpAutoencoder",
    "PcaBaseline",
    "RandomFeatures",
    "Row",
    "SeedComparison",
    "SimilarityPair",
    "SizedRow",
    "best_update",
    "build_report",
    "compare_seeds",
    "compute_metrics",
    "console_table",
    "effective_rank",
    "embedding_spread",
    "fit_all",
    "gate_information",
    "measure_row",
    "measure_rows",
    "new_baselines",
    "pairwise_cosine",
    "read_sts",
    "render_markdown",
    "report_metrics",
    "sts_spearman",
    "validation_metrics",
    "verdicts",
    "write_report",
]
