"""Against collapse: predictions more alike than their targets.

Legend: B batch, D teacher width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from latticegraph.losses.pairs import directions, mean_over_pairs
from latticegraph.losses.term import LossTerm
from latticegraph.model.output import StudentOutput


class DiversityLoss(LossTerm):
    r"""Excess similarity of pairs, as a share of that of a total collapse.

    With c the plain cosine (not centred: a collapse onto the mean must be seen) and the mean taken
    over pairs i != j:

    .. math::
        L = \frac{\operatorname{mean}\,\max(0, c^p_{ij} - c^t_{ij})^2}
                 {\max(\operatorname{mean}\,(1 - c^t_{ij})^2, 10^{-4})}

    1 when all predictions are alike (the mean predictor), 0 at ``p == t`` and wherever pairs are as
    far apart as their targets, so it never fights the reconstruction. At the collapse itself
    cosines are maximal and the gradient is 0: this term keeps a model away from it, the
    reconstruction leads out. A batch of one has no pairs and gives 0.
    """

    reads: ClassVar = ("embedding_BD",)

    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch.

        Shapes:
            output.embedding_BD, target_BD: [B, D]; result: scalar.
        """
        prediction_BD, teacher_BD = directions(output.embedding_BD.to(target_BD.dtype), target_BD)
        teacher_BB = torch.mm(teacher_BD, teacher_BD.T)
        excess_BB = (torch.mm(prediction_BD, prediction_BD.T) - teacher_BB).relu()
        collapse = mean_over_pairs((1 - teacher_BB).square()).clamp_min(1e-4)
        return mean_over_pairs(excess_BB.square()) / collapse
