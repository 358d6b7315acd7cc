"""What a student returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class StudentOutput:
    """Prediction and everything the losses, logs and analyses need.

    Attributes:
        embedding_BD: predicted embedding, in the teacher's space and units.
        code_BS: numbers that the projection writes into the lattice; the embedding itself,
            standardised, where there is no projection.
        surface_BS: numbers read from the output face.
        states_CNB: final states of all cells.
        usage_NX: share of each expert per cell, averaged over samples and steps; rows sum to 1.
        change_T: relative change of the state in each step, averaged over samples;
            one that has stopped counts as 0.
        steps_B: steps each sample took.
        gate_balance: load-balance term of the gates, 0 when experts are used alike.
        gate_z: squared log-partition of the gates; 0 where gating.z_weight is 0.
    """

    embedding_BD: Tensor
    code_BS: Tensor
    surface_BS: Tensor
    states_CNB: Tensor
    usage_NX: Tensor
    change_T: Tensor
    steps_B: Tensor
    gate_balance: Tensor
    gate_z: Tensor
