"""The metrics of the report, in float64.

Legend: N samples, D teacher width. p prediction, t target, m mean of the TRAINING targets (not of
the held-out ones, which a model cannot know).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import Floats
from latticegraph.evaluation.metric import Metric, check_metrics
from latticegraph.evaluation.ranking import unit_rows
from latticegraph.plugins import load_class, make

Ranks = NDArray[np.int64]


class ExplainedVariance(Metric):
    r"""Share of the targets' variance about m that the predictions explain.

    .. math:: 1 - \sum |t - p|^2 / \sum |t - m|^2

    1 is perfect, 0 is predicting m, below 0 is worse than that.
    """

    name = "explained_variance"
    title = "explained variance"
    needs = ("prediction_ND", "target_ND", "train_mean_D")

    def compute(self, prediction_ND: Floats, target_ND: Floats, train_mean_D: Floats) -> float:
        """See :class:`Metric`.

        Raises:
            DataError: all targets equal the mean.
        """
        spread = float(np.square(target_ND - train_mean_D).sum())
        if spread == 0:
            raise DataError(
                "target",
                "expected held-out embeddings that differ from the training mean, got none",
                "Hold out more than one text",
            )
        return 1 - float(np.square(target_ND - prediction_ND).sum()) / spread


class Cosine(Metric):
    """Mean cosine of p and t; high for many teachers even when p = m."""

    name = "cosine"
    title = "cosine"

    def compute(self, prediction_ND: Floats, target_ND: Floats) -> float:
        """See :class:`Metric`."""
        return float((unit_rows(prediction_ND) * unit_rows(target_ND)).sum(axis=1).mean())


class CentredCosine(Metric):
    """Mean cosine of p - m and t - m; 0 for p = m."""

    name = "centred_cosine"
    title = "centred cosine"
    needs = ("prediction_ND", "target_ND", "train_mean_D")

    def compute(self, prediction_ND: Floats, target_ND: Floats, train_mean_D: Floats) -> float:
        """See :class:`Metric`."""
        own_ND, wanted_ND = prediction_ND - train_mean_D, target_ND - train_mean_D
        return float((unit_rows(own_ND) * unit_rows(wanted_ND)).sum(axis=1).mean())


class MeanSquaredError(Metric):
    """Mean squared error per dimension."""

    name = "mse"
    title = "MSE"
    format = ".5f"

    def compute(self, prediction_ND: Floats, target_ND: Floats) -> float:
        """See :class:`Metric`."""
        return float(np.square(target_ND - prediction_ND).sum()) / target_ND.size


class Recall(Metric):
    """Share of samples whose own target is among the nearest ``k`` of all targets."""

    needs = ("ranks_N",)

    def __init__(self, k: int) -> None:
        self.k = k
        self.name = f"recall_at_{k}"
        self.title = f"recall@{k}"

    def compute(self, ranks_N: Ranks) -> float:
        """See :class:`Metric`."""
        return float((ranks_N <= self.k).mean())


class MeanReciprocalRank(Metric):
    """Mean of 1 / rank of a sample's own target among all targets."""

    name = "mrr"
    title = "MRR"
    needs = ("ranks_N",)

    def compute(self, ranks_N: Ranks) -> float:
        """See :class:`Metric`."""
        return float((1 / ranks_N).mean())


METRICS: tuple[Metric, ...] = (
    ExplainedVariance(),
    Cosine(),
    CentredCosine(),
    MeanSquaredError(),
    Recall(1),
)
ANSWER_METRICS: tuple[Metric, ...] = (MeanReciprocalRank(), Recall(10))


def validation_metrics(paths: Sequence[str]) -> tuple[Metric, ...]:
    """Built-in metrics that every task has, then those of ``evaluation.metrics``.

    Args:
        paths: class paths; see :mod:`latticegraph.plugins`. Their code runs.

    Raises:
        ConfigError: no such class, no :class:`Metric`, or a name that is taken.
    """
    return _with_own(METRICS, paths)


def report_metrics(task: str, paths: Sequence[str]) -> tuple[Metric, ...]:
    """The columns of the report.

    Args:
        task: ``reconstruction``, or ``question_answer`` which adds MRR and recall@10.
        paths: see :func:`validation_metrics`.

    Raises:
        ConfigError: see :func:`validation_metrics`.
    """
    return _with_own(METRICS + (ANSWER_METRICS if task == "question_answer" else ()), paths)


def _with_own(built_in: tuple[Metric, ...], paths: Sequence[str]) -> tuple[Metric, ...]:
    own = []
    for index, path in enumerate(paths):
        where = f"evaluation.metrics.{index}"
        own.append(make(load_class(path, where, Metric), {}, where))  # type: ignore[type-abstract]
        taken = (*METRICS, *ANSWER_METRICS, *own)
        check_metrics(taken, where)
    return (*built_in, *own)
