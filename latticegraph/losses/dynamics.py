"""Controlled change of the state per step.

Legend: T steps.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from latticegraph.losses.term import LossTerm
from latticegraph.model.output import StudentOutput


class DynamicsLoss(LossTerm):
    r"""Distance of each step's relative change from its target, on a ratio scale.

    .. math:: L = \operatorname{mean}_t \left( \frac{c_t - c^*}{c_t + c^*} \right)^2
                = \operatorname{mean}_t \tanh^2\!\left(\tfrac12 \log (c_t / c^*)\right)

    0 at the target, and in [0, 1]: frozen states (c = 0) and exploding ones (c >> c*) both give 1,
    twice and half the target both give 1/9. A plain squared distance would let one early step drown
    the rest; a plain log ratio is infinite for frozen states.

    Args:
        target: wanted relative change c* of the state per step, > 0.
    """

    reads: ClassVar = ("change_T",)

    def __init__(self, target: float) -> None:
        super().__init__()
        self.target = target

    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch; it does not depend on ``target_BD``.

        Shapes:
            output.change_T: [T], each >= 0; result: scalar.
        """
        change_T = output.change_T
        return ((change_T - self.target) / (change_T + self.target)).square().mean()
