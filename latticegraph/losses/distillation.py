"""To which others of its batch a sample is similar, as a distribution.

Legend: B batch, D teacher width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latticegraph.losses.similarity import CentredLoss
from latticegraph.model.output import StudentOutput


class DistillationLoss(CentredLoss):
    r"""Divergence of the student's distribution of similarities from the teacher's.

    With :math:`C_{ij}` the cosines about the teacher's mean among the targets (t) and among the
    predictions (p; lengths floored as in :class:`SimilarityLoss`), both over j != i, and uniform u:

    .. math::
        P^x_{i\cdot} = \operatorname{softmax}_j (C^x_{ij} / T), \qquad
        L = \frac{\operatorname{mean}_i \mathrm{KL}(P^t_i \,\|\, P^p_i)}
                 {\max(\operatorname{mean}_i \mathrm{KL}(P^t_i \,\|\, u), 10^{-6})}, \qquad
        T = T_0 \left( T_1 / T_0 \right)^{\text{progress}}

    1 for the mean predictor, 0 at ``p == t``, no upper limit. A high temperature compares all pairs
    alike, a low one the nearest neighbours only, and the schedule moves from the one to the other.
    The denominator takes the place of the factor T^2 of Hinton et al. (2015): the size of the loss
    does not depend on T. (Passalis and Tefas 2018; Fang et al. 2021.) Batches of one or two have
    nothing to choose and give 0.

    Args:
        teacher_mean_D: mean of the training embeddings.
        start: temperature T_0 in the first update, > 0.
        end: temperature T_1 that the last update approaches, > 0.

    Attributes:
        temperature: T of the present update.

    Shapes:
        teacher_mean_D: [D]
    """

    def __init__(self, teacher_mean_D: Tensor, start: float = 0.2, end: float = 0.05) -> None:
        super().__init__(teacher_mean_D)
        self.start = start
        self.end = end
        self.temperature = start

    def set_progress(self, progress: float) -> None:
        """Set the temperature.

        Args:
            progress: share of all updates that are done, 0 to 1.
        """
        self.temperature = self.start * (self.end / self.start) ** progress

    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch.

        Shapes:
            output.embedding_BD, target_BD: [B, D]; result: scalar.
        """
        prediction_BD, teacher_BD = self.centred(output, target_BD)
        batch = len(target_BD)
        others_BB = ~torch.eye(batch, dtype=torch.bool, device=target_BD.device)
        own, teacher = (
            (torch.mm(x_BD, x_BD.T)[others_BB].view(batch, batch - 1) / self.temperature)
            for x_BD in (prediction_BD, teacher_BD)
        )
        wanted = teacher.log_softmax(1)
        share = wanted.exp()
        missed_B = (share * (wanted - own.log_softmax(1))).sum(1)
        chance_B = (share * wanted).sum(1) + math.log(max(batch - 1, 1))
        return missed_B.mean() / chance_B.mean().clamp_min(1e-6)
