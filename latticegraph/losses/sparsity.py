"""Few strong activations instead of many weak ones.

Legend: B batch, C channels, N cells.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from latticegraph.losses.term import LossTerm
from latticegraph.model.output import StudentOutput


class SparsityLoss(LossTerm):
    r"""L1 norm of the final states in units of their root mean square.

    With the means taken over all channels, cells and samples:

    .. math:: L = \frac{\operatorname{mean} |x|}{\sqrt{\operatorname{mean} x^2}}, \qquad 0 < L \le 1

    1 when all activations have the same size, 0.8 when they are normally distributed,
    :math:`\sqrt s` when a share s of them is alike and the rest is 0. A plain L1 norm falls as well
    when all states shrink, which the gains of the readout undo; here only their distribution
    counts (the ratio of norms of Hoyer, 2004). States that are all 0 give 0.
    """

    reads: ClassVar = ("states_CNB",)
    sums_over_processes: ClassVar = True
    stays_positive: ClassVar = True

    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch; it does not depend on ``target_BD``.

        Shapes:
            output.states_CNB: [C, N, B]; result: scalar.
        """
        x_CNB = output.states_CNB
        x_CNB = x_CNB.to(torch.promote_types(x_CNB.dtype, torch.float32))
        count = x_CNB.new_tensor(x_CNB.numel())
        size, square, count = self.reduce(
            torch.stack([x_CNB.abs().sum(), x_CNB.square().sum(), count])
        )
        ratio: Tensor = size / count / (square / count).clamp_min(1e-12).sqrt()
        return ratio
