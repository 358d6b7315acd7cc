"""Dynamics without a lattice, to compare with.

Legend: C channels, N cells, B batch, X experts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from latticegraph.aggregation import Backend, Cells, MemoryPlan
from latticegraph.aggregation.memory import GIB
from latticegraph.dynamics.dynamics import Dynamics, Rollout
from latticegraph.dynamics.interventions import Intervention
from latticegraph.dynamics.recorder import Recorder
from latticegraph.errors import ConfigError
from latticegraph.lattice import LatticeGraph

STATES_AT_ONCE = 4


class Identity(Dynamics):
    """Leaves every state as it is, so that the output does not depend on the input.

    Args:
        names: of the experts, whose shares are all equal.
        cells: which cells this process holds.
        backend: how the losses sum over neighbours.
        channels: C, for what a rollout takes.

    Shapes:
        (C, N, B) -> Rollout
    """

    def __init__(self, names: Sequence[str], cells: Cells, backend: Backend, channels: int) -> None:
        super().__init__()
        self.names = tuple(names)
        self.experts = nn.ModuleDict()
        self.cells = cells
        self.backend = backend
        self.channels = channels

    def final_states(self, x_CNB: Tensor) -> Tensor:
        """The first states."""
        return x_CNB

    def rollout(
        self,
        x_CNB: Tensor,
        steps: int | None = None,
        recorder: Recorder | None = None,
        interventions: Sequence[Intervention] = (),
        whole: bool = True,
    ) -> Rollout:
        """No step at all; a recorder is never called.

        Raises:
            ConfigError: for interventions, as there is nothing to intervene in.
        """
        if interventions:
            raise ConfigError(
                "interventions",
                f"expected none for dynamics without a lattice, got {len(interventions)}",
                "Set model.dynamics.mode to lattice",
            )
        shares = len(self.names)
        return Rollout(
            states_CNB=self.final_states(x_CNB),
            usage_XN=x_CNB.new_full((shares, self.cells.num_cells), 1 / shares),
            change_T=x_CNB.new_zeros(1),
            steps_B=torch.zeros(x_CNB.shape[2], dtype=torch.int64, device=x_CNB.device),
            z=x_CNB.new_zeros(()),
        )

    def plan(self, batch: int, steps: int, bytes_per_number: int) -> MemoryPlan:
        """A few states."""
        numbers = batch * self.cells.num_cells * self.channels * STATES_AT_ONCE
        return MemoryPlan(batch, 0, numbers * bytes_per_number / GIB)


class Wire(Identity):
    """Copies the states of the input face to the output face.

    Args:
        names: of the experts, whose shares are all equal.
        cells: which cells this process holds.
        backend: how the losses sum over neighbours.
        channels: C.
        graph: the lattice.
    """

    def __init__(
        self,
        names: Sequence[str],
        cells: Cells,
        backend: Backend,
        channels: int,
        graph: LatticeGraph,
    ) -> None:
        super().__init__(names, cells, backend, channels)
        self.source = cells.select(graph.input_cells)
        self.target = cells.select(graph.output_cells)

    def final_states(self, x_CNB: Tensor) -> Tensor:
        """States with those of the input face copied to the output face."""
        return self.target.write(x_CNB, self.source.read(x_CNB))
