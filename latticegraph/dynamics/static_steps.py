"""The steps of a lattice as plain operators on fixed edge weights, for export.

Legend: C channels, N cells, B batch, M = N B columns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latticegraph.dynamics.expert import Expert
from latticegraph.dynamics.lattice3d import Lattice3D
from latticegraph.dynamics.step import plain_step


class StaticSteps(nn.Module):
    """All steps of a lattice, one after another, with edge weights that were computed once.

    The steps are those of :func:`~latticegraph.dynamics.step.plain_step`. What a rollout decides
    while it runs is left out: no sample stops early, nothing is recomputed or split, and there are
    no statistics.

    Args:
        lattice: made for the backend ``conv3d``.

    Shapes:
        (C, N, B) -> (C, N, B)
    """

    def __init__(self, lattice: Lattice3D) -> None:
        super().__init__()
        self.experts, self.gating = lattice.experts, lattice.gating
        self.aggregation = lattice.aggregation
        self.steps = lattice.settings.dynamics.steps
        with torch.no_grad():
            sums = lattice.weights().sums
        for index, (kernel,) in enumerate(sums):
            self.register_buffer(f"kernel_{index}", kernel.detach().clone())

    def forward(self, x_CNB: Tensor) -> Tensor:
        """Final states."""
        experts = [expert for expert in self.experts.values() if isinstance(expert, Expert)]
        kernels = [(self.get_buffer(f"kernel_{index}"),) for index in range(len(experts))]
        layout = self.aggregation.layout
        x_CM = layout.columns(x_CNB)
        for _ in range(self.steps):
            x_CM = plain_step(x_CM, experts, self.gating, self.aggregation, kernels).states_CM
        return layout.states(x_CM)
