"""Every prediction nearer its own target than another one, by a margin.

Legend: B batch, D teacher width.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from latticegraph.losses.pairs import rivals
from latticegraph.losses.similarity import CentredLoss
from latticegraph.model.output import StudentOutput

Negatives = Literal["hard", "semihard"]
# Distances of unit vectors that differ by less are equal, so that rounding decides nothing.
TIED = 1e-5


class TripletLoss(CentredLoss):
    r"""Triplets of a prediction, its target and another target, in units of the margin.

    With u and v the directions of predictions and targets about the teacher's mean (lengths floored
    as in :class:`SimilarityLoss`), :math:`d_{ij} = |u_i - v_j|`, and j(i) the negative of i:

    .. math::
        L = \operatorname{mean}_i \frac{\max(0, d_{ii} - d_{i j(i)} + m)}{m}, \qquad
        0 \le L \le 1 + 2 / m

    ``hard``: j(i) is the nearest of the targets that differ from target i (Hermans et al. 2017);
    ``semihard``: the nearest of those that are no nearer than the own target, and a sample counts 0
    where none lies within the margin (Schroff et al. 2015), so that a wrong order is not corrected.
    The mean predictor scores 1. A sample whose targets all equal its own is left
    out, and a batch of one gives 0.

    Args:
        teacher_mean_D: mean of the training embeddings.
        margin: m, in distances of unit vectors, > 0.
        negatives: ``hard`` or ``semihard``.

    Shapes:
        teacher_mean_D: [D]
    """

    stays_positive: ClassVar = False

    def __init__(
        self, teacher_mean_D: Tensor, margin: float = 0.2, negatives: Negatives = "hard"
    ) -> None:
        super().__init__(teacher_mean_D)
        self.margin = margin
        self.negatives = negatives

    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch.

        Shapes:
            output.embedding_BD, target_BD: [B, D]; result: scalar.
        """
        prediction_BD, teacher_BD = self.centred(output, target_BD)
        # The form by matrix products loses small distances, and its gradient at 0 is not finite.
        exact = "donot_use_mm_for_euclid_dist"
        distance_BB = torch.cdist(prediction_BD, teacher_BD, compute_mode=exact)
        rival_BB = rivals(teacher_BD)
        own_B = distance_BB.diagonal()
        chosen_BB = rival_BB
        if self.negatives == "semihard":
            chosen_BB = rival_BB & (distance_BB > own_B[:, None] - TIED)
        nearest_B = distance_BB.masked_fill(~chosen_BB, torch.inf).amin(1)
        excess_B = (own_B - nearest_B + self.margin).relu() / self.margin
        return excess_B.sum() / rival_BB.any(1).sum().clamp_min(1)
