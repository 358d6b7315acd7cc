"""Every prediction nearest its own target among those of the batch.

Legend: B batch, D teacher width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latticegraph.losses.pairs import rivals
from latticegraph.losses.similarity import CentredLoss
from latticegraph.model.output import StudentOutput


class ContrastiveLoss(CentredLoss):
    r"""InfoNCE with the other targets of the batch as negatives, as a share of chance.

    With u and v the directions of predictions and targets about the teacher's mean (lengths floored
    as in :class:`SimilarityLoss`), :math:`z_{ij} = u_i \cdot v_j / \tau`, N(i) the targets that
    differ from target i, and n their number:

    .. math::
        L = \operatorname{mean}_i \frac{1}{\log(1 + n)}
            \log \frac{e^{z_{ii}} + \sum_{j \in N(i)} a_{ij} e^{z_{ij}}}{e^{z_{ii}}},
        \qquad a_{ij} = \frac{n\, e^{\beta z_{ij}}}{\sum_{k \in N(i)} e^{\beta z_{ik}}}

    1 for the mean predictor, above 0 even at ``p == t`` where targets are alike, up to 2 /
    (:math:`\tau \log(1 + n)`) above 1. A sample whose targets all equal its own is left out, and a
    batch of one gives 0. At :math:`\beta = 0` every a is 1 and :math:`L \log B` is InfoNCE (van den
    Oord et al. 2018; the temperature 0.07 of Wu et al. 2018); above 0 negatives that are close
    count more (Robinson et al. 2021), with a held fixed in the gradient.

    Args:
        teacher_mean_D: mean of the training embeddings.
        temperature: :math:`\tau`, > 0.
        hardness: :math:`\beta`, >= 0.

    Shapes:
        teacher_mean_D: [D]
    """

    def __init__(
        self, teacher_mean_D: Tensor, temperature: float = 0.07, hardness: float = 0.0
    ) -> None:
        super().__init__(teacher_mean_D)
        self.temperature = temperature
        self.hardness = hardness

    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch.

        Shapes:
            output.embedding_BD, target_BD: [B, D]; result: scalar.
        """
        prediction_BD, teacher_BD = self.centred(output, target_BD)
        logit_BB = torch.mm(prediction_BD, teacher_BD.T) / self.temperature
        rival_BB = rivals(teacher_BD)
        count_B = rival_BB.sum(1)
        chosen_B = count_B > 0
        own_B = logit_BB.diagonal()
        other_BB = logit_BB.masked_fill(~rival_BB, -torch.inf)
        if self.hardness:
            weight_BB = (self.hardness * other_BB.detach()).softmax(1) * count_B[:, None]
            # Of a weight too small for this type there is nothing left to add.
            other_BB = torch.where(weight_BB > 0, other_BB + weight_BB.log(), -torch.inf)
        excess_B = torch.cat([own_B[:, None], other_BB], 1).logsumexp(1) - own_B
        share_B = excess_B[chosen_B] / (1 + count_B[chosen_B]).to(excess_B.dtype).log()
        return share_B.sum() / chosen_B.sum().clamp_min(1)
