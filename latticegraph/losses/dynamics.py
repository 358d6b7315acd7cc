"""Controlled change of the state per step.

Legend: B batch, T steps.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from latticegraph.losses.term import LossTerm
from latticegraph.model.output import StudentOutput


class DynamicsLoss(LossTerm):
    r"""Distance of each step's relative change from its target, on a ratio scale.

    With :math:`c_{tb}` the relative change of sample b in step t, and :math:`M_t` the samples that
    have not stopped before step t:

    .. math::
        c_t = \frac{1}{|M_t|} \sum_{b \in M_t} c_{tb}, \qquad
        L = \operatorname{mean}_{t : M_t \ne \emptyset}
            \left( \frac{c_t - c^*}{c_t + c^*} \right)^2
          = \operatorname{mean}_{t : M_t \ne \emptyset}
            \tanh^2\!\left(\tfrac12 \log (c_t / c^*)\right)

    A sample that has stopped is not one that is frozen: it is left out, and so is a step in which
    no sample moves. Without any step, as under the controls without a lattice, the loss is 0.
    0 at the target, and in [0, 1]: frozen states (c = 0) and exploding ones (c >> c*) both give 1,
    twice and half the target both give 1/9. A plain squared distance would let one early step drown
    the rest; a plain log ratio is infinite for frozen states.

    Args:
        target: wanted relative change c* of the state per step, > 0.
    """

    reads: ClassVar = ("change_T", "steps_B")

    def __init__(self, target: float) -> None:
        super().__init__()
        self.target = target

    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch; it does not depend on ``target_BD``.

        Shapes:
            output.change_T: [T], each >= 0; output.steps_B: [B]; result: scalar.
        """
        steps_T = torch.arange(1, output.change_T.numel() + 1, device=output.steps_B.device)
        moving_T = (output.steps_B[:, None] >= steps_T).sum(0).to(output.change_T.dtype)
        # The mean over all samples, in which those that have stopped count as 0.
        change_T = output.change_T * (len(output.steps_B) / moving_T.clamp_min(1))
        distance_T = ((change_T - self.target) / (change_T + self.target)).square()
        taken_T = (moving_T > 0).to(distance_T.dtype)
        return (distance_T * taken_T).sum() / taken_T.sum().clamp_min(1)
