"""Direction of each embedding, and pattern of similarities inside a batch.

Legend: B batch, D teacher width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from latticegraph.losses.pairs import directions, mean_over_pairs
from latticegraph.losses.term import LossTerm
from latticegraph.model.output import StudentOutput


class CentredLoss(LossTerm):
    """What losses of directions about the teacher's mean have in common.

    Args:
        teacher_mean_D: mean of the training embeddings.

    Shapes:
        teacher_mean_D: [D]
    """

    reads: ClassVar = ("embedding_BD",)
    stays_positive: ClassVar = True

    teacher_mean_D: Tensor

    def __init__(self, teacher_mean_D: Tensor) -> None:
        super().__init__()
        self.register_buffer("teacher_mean_D", teacher_mean_D.detach().clone(), persistent=False)

    def centred(self, output: StudentOutput, target_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Directions of prediction and target about the mean, [B, D] both."""
        return directions(
            output.embedding_BD - self.teacher_mean_D, target_BD - self.teacher_mean_D
        )


class SimilarityLoss(CentredLoss):
    r"""One minus the cosine about the teacher's mean.

    .. math::
        L = 1 - \operatorname{mean}_b
        \frac{(p_b - m) \cdot (t_b - m)}{\max(|p_b - m|, 0.05 |t_b - m|)\, |t_b - m|}

    1 for the mean predictor (p = m), 0 exactly at ``p == t``, 2 at most. Without the centring the
    mean predictor would already score well. Targets equal to m have no direction and are left out.

    Args:
        teacher_mean_D: mean m of the training embeddings.

    Shapes:
        teacher_mean_D: [D]
    """

    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch.

        Shapes:
            output.embedding_BD, target_BD: [B, D]; result: scalar.
        """
        prediction_BD, teacher_BD = self.centred(output, target_BD)
        directed_B = teacher_BD.square().sum(1)  # 1 with a direction, 0 without
        lack_B = directed_B - (prediction_BD * teacher_BD).sum(1)
        return lack_B.sum() / directed_B.sum().clamp_min(1)


class StructureLoss(CentredLoss):
    r"""Error of the pairwise similarities of a batch, relative to their size.

    With C the matrix of cosines about the teacher's mean m (lengths floored as in
    :class:`SimilarityLoss`) and the mean taken over pairs i != j:

    .. math::
        L = \frac{\operatorname{mean}(C^p_{ij} - C^t_{ij})^2}
                 {\max(\operatorname{mean}\,[(C^p_{ij})^2 + (C^t_{ij})^2], 10^{-4})}

    1 for the mean predictor and for any prediction whose similarities have nothing to do with the
    teacher's, 0 at ``p == t``, 2 at most. Dividing by both sides keeps a collapsed start near 1,
    where the teacher's own similarities alone (about 0.1 squared) would make it 100. The floor acts
    only where all pairs are all but orthogonal. A batch of one has no pairs and gives 0.

    Args:
        teacher_mean_D: mean m of the training embeddings.

    Shapes:
        teacher_mean_D: [D]
    """

    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch.

        Shapes:
            output.embedding_BD, target_BD: [B, D]; result: scalar.
        """
        prediction_BD, teacher_BD = self.centred(output, target_BD)
        teacher_BB = torch.mm(teacher_BD, teacher_BD.T)
        own_BB = torch.mm(prediction_BD, prediction_BD.T)
        scale = mean_over_pairs(own_BB.square()) + mean_over_pairs(teacher_BB.square())
        return mean_over_pairs((own_BB - teacher_BB).square()) / scale.clamp_min(1e-4)
