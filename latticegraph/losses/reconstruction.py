"""Squared error as a share of the teacher's variance.

Legend: B batch, D teacher width.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from latticegraph.errors import DataError
from latticegraph.losses.term import LossTerm
from latticegraph.model.output import StudentOutput


class ReconstructionLoss(LossTerm):
    r"""Mean squared error in units of the teacher's variance.

    .. math:: L = \frac{1}{B D \sigma^2} \sum_{b,d} (p_{bd} - t_{bd})^2

    1 in expectation for a model that always predicts the training mean, 0 exactly at ``p == t``; 1
    - L is the share of variance explained.

    Args:
        teacher_variance: mean over dimensions of the variance of the training embeddings, > 0.

    Raises:
        DataError: when the teacher's embeddings do not vary.
    """

    reads: ClassVar = ("embedding_BD",)
    stays_positive: ClassVar = True

    def __init__(self, teacher_variance: float) -> None:
        super().__init__()
        if not teacher_variance > 0:
            raise DataError(
                "data.train",
                f"expected teacher embeddings with a variance above 0, got {teacher_variance}",
                "Give texts that differ from each other",
            )
        self.teacher_variance = float(teacher_variance)

    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch.

        Shapes:
            output.embedding_BD, target_BD: [B, D]; result: scalar.
        """
        return (output.embedding_BD - target_BD).square().mean() / self.teacher_variance
