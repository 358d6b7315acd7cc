"""Rows of the report: anything that predicts, measured by every metric.

Legend: N samples, D teacher width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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
    return {
        row.name: compute_metrics(
            metrics,
            row.predict(heldout.source_ND),
            heldout.target_ND,
            train_mean_D,
            heldout.source_ND,
        )
        for row in rows
    }
