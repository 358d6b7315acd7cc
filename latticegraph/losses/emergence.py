"""Information between cell and expert usage.

Legend: N cells, X experts.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from latticegraph.losses.term import LossTerm
from latticegraph.model.output import StudentOutput


def entropy(probability: Tensor) -> Tensor:
    """Entropy over the last dimension in units of log(its size): 1 when uniform, 0 when certain.

    Probabilities of exactly 0 (top-k gating) keep a finite gradient. A single choice has the
    entropy 0.
    """
    floor = torch.finfo(probability.dtype).eps ** 2
    nats = -(probability * probability.clamp_min(floor).log()).sum(-1)
    return nats / max(math.log(probability.shape[-1]), math.log(2))


def usage_information(usage_NX: Tensor) -> Tensor:
    r"""Mutual information between a uniformly drawn cell and the expert it uses, in units of log X.

    .. math:: I = H(\operatorname{mean}_n p_n) - \operatorname{mean}_n H(p_n), \qquad 0 \le I \le 1

    1 when every cell uses one expert and all experts are used equally; 0 when all cells gate alike.

    Args:
        usage_NX: gate of each cell; rows are probabilities.

    Shapes:
        usage_NX: [N, X] with X >= 2; result: scalar.
    """
    return entropy(usage_NX.mean(0)) - entropy(usage_NX).mean()


class EmergenceLoss(LossTerm):
    r"""Lack of specialisation: how far the usage information I stays below its target.

    .. math:: L = \max(0, 1 - I / I^*)^2

    1 when all cells gate alike (I = 0), 0 once I reaches the target. dL/dI = -2 / I* at I = 0, but
    I itself is quadratic around equal gates, so the gradient with respect to the gates is exactly 0
    where all cells agree; any difference between cells, however small, is amplified from there.

    Args:
        target: wanted information I*, in units of log X, in (0, 1].
    """

    reads: ClassVar = ("usage_NX",)

    def __init__(self, target: float) -> None:
        super().__init__()
        self.target = target

    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch; it does not depend on ``target_BD``.

        Shapes:
            output.usage_NX: [N, X]; result: scalar.
        """
        usage_NX = output.usage_NX
        usage_NX = usage_NX.to(torch.promote_types(usage_NX.dtype, torch.float32))
        return (1 - usage_information(usage_NX) / self.target).relu().square()
