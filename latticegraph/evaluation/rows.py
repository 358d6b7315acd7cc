"""Rows of the report: anything that predicts, measured by every metric.

Legend: N samples, D teacher width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from latticegraph.evaluation.arrays import ArrayOrTensor, Floats, as_float64, check_same_shape
from latticegraph.evaluation.metric import Metric, compute_metrics


class Row(Protocol):
    """Anything that predicts target embeddings from source embeddings.

    Attributes:
        name: key in ``report.json``.
        title: label in ``report.md`` and on the console.
    """

    name: str
    title: str

    def predict(self, source_ND: Floats, /) -> ArrayOrTensor:
        """Predicted targets. Shapes: [N, D] to [N, D]."""


class SizedRow(Row, Protocol):
    """A row that says how many numbers were fitted to make it."""

    @property
    def parameters(self) -> int:
        """Number of trained or fitted values."""


@dataclass(frozen=True)
class EmbeddingSplit:
    """Source and target embeddings of one split, in float64.

    Args:
        source_ND: embeddings that enter a model.
        target_ND: embeddings that should leave it, row i belongs to source i.

    Shapes:
        source_ND, target_ND: [N, D].
    """

    source_ND: Floats
    target_ND: Floats

    @classmethod
    def of(cls, name: str, source_ND: ArrayOrTensor, target_ND: ArrayOrTensor) -> EmbeddingSplit:
        """A checked copy; where both are one array, both of the split are one too.

        Raises:
            DataError: naming the split, for shapes that do not match, empty arrays, or NaN.
        """
        source = as_float64(f"{name}.source", source_ND)
        if target_ND is source_ND:
            return cls(source, source)
        target = as_float64(f"{name}.target", target_ND)
        check_same_shape(f"{name}.source", source, f"{name}.target", target)
        return cls(source, target)


@dataclass(frozen=True)
class MeasuredRow:
    """What a row scores.

    Attributes:
        metrics: values by the name of the metric.
        error_N: squared error of every held-out sample, of which intervals are made.
    """

    metrics: dict[str, float]
    error_N: Floats


def measure_row(
    row: Row, metrics: Sequence[Metric], heldout: EmbeddingSplit, train_mean_D: Floats
) -> MeasuredRow:
    """Every metric of one row, and its errors; it predicts once.

    Args:
        row: what predicts.
        metrics: what is measured.
        heldout: embeddings that nothing was fitted to.
        train_mean_D: mean of the training targets.

    Raises:
        DataError: the row predicts another shape or NaN, or a metric is no finite number.
    """
    prediction_ND = as_float64("prediction", row.predict(heldout.source_ND))
    target_ND = heldout.target_ND
    values = compute_metrics(metrics, prediction_ND, target_ND, train_mean_D, heldout.source_ND)
    return MeasuredRow(values, np.square(target_ND - prediction_ND).sum(axis=1))


def measure_rows(
    rows: Sequence[Row],
    metrics: Sequence[Metric],
    heldout: EmbeddingSplit,
    train_mean_D: Floats,
) -> dict[str, dict[str, float]]:
    """Every metric of every row on held-out embeddings.

    Args:
        rows: what predicts.
        metrics: what is measured.
        heldout: embeddings that nothing was fitted to.
        train_mean_D: mean of the training targets.

    Returns:
        Values by the name of the row and of the metric.

    Raises:
        DataError: a row predicts another shape or NaN, or a metric is no finite number.
    """
    return {row.name: measure_row(row, metrics, heldout, train_mean_D).metrics for row in rows}
