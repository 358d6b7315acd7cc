"""Regularisers of the gates, which the model computes with its output."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from latticegraph.losses.term import LossTerm
from latticegraph.model.output import StudentOutput


class GateBalanceLoss(LossTerm):
    """Load balance of the experts: 0 when they are used alike, X - 1 when only one is used."""

    reads: ClassVar = ("gate_balance",)

    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch; it does not depend on ``target_BD``.

        Shapes:
            output.gate_balance, result: scalar.
        """
        return output.gate_balance


class GateZLoss(LossTerm):
    """Squared log-partition of the gates (Zoph et al. 2022), which keeps their logits small."""

    reads: ClassVar = ("gate_z",)

    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch; it does not depend on ``target_BD``.

        Shapes:
            output.gate_z, result: scalar.
        """
        return output.gate_z
