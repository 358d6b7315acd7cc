"""What lies between the input face and the output face of a student.

Legend: C channels, N cells, B batch, X experts, T steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from latticegraph.aggregation import Backend, Cells, MemoryPlan
from latticegraph.dynamics.interventions import Intervention
from latticegraph.dynamics.recorder import Recorder


@dataclass(frozen=True)
class Rollout:
    """What the dynamics did.

    Attributes:
        states_CNB: final states.
        usage_XN: gate shares, averaged over the steps that each sample took.
        change_T: change of the state in each step relative to its norm, averaged over samples;
            one that has stopped counts as 0.
        steps_B: steps each sample took before it converged.
        z: squared log-partition of the gates, averaged like usage_XN; 0 where it has no weight.
    """

    states_CNB: Tensor
    usage_XN: Tensor
    change_T: Tensor
    steps_B: Tensor
    z: Tensor


class Dynamics(nn.Module, ABC):
    """Turns first states into final states: the lattice, or a control in its place.

    Attributes:
        names: of the experts, in the order of ``usage_XN``.
        experts: modules by the name of the expert; empty for a control.
        backend: how sums over neighbours are computed.
        cells: which cells this process holds.
        checkpoint_steps: steps recomputed together in the backward pass; 0: as memory requires.
    """

    names: tuple[str, ...]
    experts: nn.ModuleDict
    backend: Backend
    cells: Cells
    checkpoint_steps: int = 0

    @abstractmethod
    def rollout(
        self,
        x_CNB: Tensor,
        steps: int | None = None,
        recorder: Recorder | None = None,
        interventions: Sequence[Intervention] = (),
        whole: bool = True,
    ) -> Rollout:
        """Final states and statistics.

        Args:
            x_CNB: first states.
            steps: maximum number of steps; None: the configured one.
            recorder: called after every step; changes nothing.
            interventions: changes of the dynamics.
            whole: False: only the final states of the output cells are needed, and the samples
                differ in no other first states than the model's parts make them. The others may
                then come back as 0, and the statistics describe the cells computed.
        """

    @abstractmethod
    def plan(self, batch: int, steps: int, bytes_per_number: int) -> MemoryPlan:
        """Memory that a rollout needs; with or without gradients, as they are enabled now.

        Args:
            batch: samples.
            steps: number of steps.
            bytes_per_number: 4 for float32.
        """

    def components(self) -> dict[str, nn.Module]:
        """Parts whose gradient norms are logged, by name."""
        return {f"experts.{name}": module for name, module in self.experts.items()}
