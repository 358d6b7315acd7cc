"""The loop over steps, what it returns, and how chunks of one batch become one.

Legend: C channels, N cells, B batch, M = N B columns, X experts, T steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from latticegraph.model.lattice3d import Lattice3D, Prepared

# Most steps of one compiled graph: every call costs time, and every step six seconds of compiling.
STEPS_AT_ONCE = 8


@dataclass(frozen=True)
class Rollout:
    """What the dynamics did.

    Attributes:
        states_CNB: final states.
        usage_XN: gate shares, averaged over the steps that each sample took.
        change_T: change of the state in each step relative to its norm, averaged over samples.
        steps_B: steps each sample took before it converged.
        z: squared log-partition of the gates, averaged like usage_XN; 0 where it has no weight.
        trajectory_TCNB: all states from the first to the last (T + 1 of them) when recorded.
    """

    states_CNB: Tensor
    usage_XN: Tensor
    change_T: Tensor
    steps_B: Tensor
    z: Tensor
    trajectory_TCNB: Tensor | None = None


def join_chunks(chunks: list[Rollout]) -> Rollout:
    """One rollout out of chunks; means are weighted by samples, or by the steps these took.

    Args:
        chunks: rollouts of parts of one batch, in order.
    """
    samples = torch.stack([c.states_CNB.new_tensor(c.states_CNB.shape[2]) for c in chunks])
    steps = torch.stack([c.steps_B.sum() for c in chunks]).to(samples)
    longest = max(c.change_T.numel() for c in chunks)

    def mean(values: list[Tensor], weights: Tensor) -> Tensor:
        shape = (-1, *[1] * values[0].ndim)
        return ((weights / weights.sum()).view(shape) * torch.stack(values)).sum(dim=0)

    def padded(c: Rollout) -> Tensor:
        return pad(c.change_T, (0, longest - c.change_T.numel()))

    trajectories = [c.trajectory_TCNB for c in chunks if c.trajectory_TCNB is not None]
    if trajectories:
        most = max(t.shape[0] for t in trajectories)
        trajectories = [
            torch.cat([t, t[-1:].expand(most - t.shape[0], -1, -1, -1)]) for t in trajectories
        ]
    return Rollout(
        states_CNB=torch.cat([c.states_CNB for c in chunks], dim=2),
        usage_XN=mean([c.usage_XN for c in chunks], steps),
        change_T=mean([padded(c) for c in chunks], samples),
        steps_B=torch.cat([c.steps_B for c in chunks]),
        z=mean([c.z for c in chunks], steps),
        trajectory_TCNB=torch.cat(trajectories, dim=3) if trajectories else None,
    )


def roll_out(lattice: Lattice3D, x_CNB: Tensor, steps: int, record: bool) -> Rollout:
    """The dynamics of ``lattice`` from ``x_CNB``, in chunks of samples where memory asks for it.

    Args:
        lattice: whose steps are taken, and whose memory plan is followed.
        x_CNB: first states.
        steps: most steps to take.
        record: keep all states.
    """
    plan = lattice.plan(x_CNB.shape[2], steps, x_CNB.element_size())
    if x_CNB.shape[2] <= plan.samples:
        return _Course(lattice, steps, record, plan.checkpoint_steps).run(x_CNB)

    def part(x_CNb: Tensor) -> tuple[Tensor | None, ...]:
        return tuple(
            vars(_Course(lattice, steps, record, plan.checkpoint_steps).run(x_CNb)).values()
        )

    again = torch.is_grad_enabled()
    fields = [
        checkpoint(part, x_CNb, use_reentrant=False) if again else part(x_CNb)
        for x_CNb in x_CNB.split(plan.samples, dim=2)
    ]
    return join_chunks([Rollout(*values) for values in fields])


class _Course:
    """One run through the steps, cut into segments that the backward pass may recompute.

    Args:
        lattice: whose steps are taken.
        steps: most steps to take.
        record: keep all states.
        checkpoint_steps: steps whose inner values are recomputed together; 0 keeps them all.
    """

    def __init__(self, lattice: Lattice3D, steps: int, record: bool, checkpoint_steps: int) -> None:
        self.lattice = lattice
        self.dynamics = lattice.settings.dynamics
        self.steps = steps
        self.record = record
        self.checkpoint_steps = checkpoint_steps

    def run(self, x_CNB: Tensor) -> Rollout:
        """All steps from the first states."""
        layout, batch, place = self.lattice.layout, x_CNB.shape[2], x_CNB.device
        prepared = self.lattice.prepare()
        x_CM = layout.columns(x_CNB)
        steps_B = torch.full((batch,), self.steps, device=place)
        calm_B = torch.zeros(batch, dtype=torch.int64, device=place)
        active_B = torch.ones(batch, dtype=torch.bool, device=place)
        usage, z, changes = [], [], []
        trajectory = [x_CNB] if self.record else []
        for first, count in self._segments():
            values = (prepared, x_CM, steps_B, calm_B, active_B, first, count)
            if first + count - 1 <= self._forgotten():
                with torch.no_grad():
                    done = self._segment(*values)
            elif self.checkpoint_steps and torch.is_grad_enabled():
                done = checkpoint(self._segment, *values, use_reentrant=False)
            else:
                done = self._segment(*values)
            x_CM, steps_B, calm_B, active_B, usage_XN, z_part, change_T, states = done
            usage.append(usage_XN)
            z.append(z_part)
            changes.append(change_T)
            trajectory += [layout.states(state_CM) for state_CM in states]
            if not self._goes_on(active_B):
                break
        taken = steps_B.sum()
        return Rollout(
            states_CNB=layout.states(x_CM),
            usage_XN=torch.stack(usage).sum(0) / taken,
            change_T=torch.cat(changes),
            steps_B=steps_B,
            z=torch.stack(z).sum() / taken,
            trajectory_TCNB=torch.stack(trajectory) if self.record else None,
        )

    def _segments(self) -> list[tuple[int, int]]:
        """Number of the first step, from 1, and steps of each segment."""
        forgotten = self._forgotten()
        segments = [(1, forgotten)] if forgotten else []
        length = self.checkpoint_steps or self.steps
        first, end = forgotten + 1, self.steps + 1
        return segments + [(t, min(length, end - t)) for t in range(first, end, length)]

    def _forgotten(self) -> int:
        """First steps that gradients do not reach."""
        kept = self.dynamics.backprop_steps
        return 0 if kept is None else max(0, self.steps - kept)

    def _goes_on(self, active_B: Tensor) -> bool:
        """Whether any sample still moves; waits for the device, only where samples may stop."""
        return self.dynamics.tolerance <= 0 or bool(active_B.any())

    def _segment(
        self,
        prepared: Prepared,
        x_CM: Tensor,
        steps_B: Tensor,
        calm_B: Tensor,
        active_B: Tensor,
        first: int,
        count: int,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
        """Some steps: the arguments as they become, sums of usage and z, changes, all states."""
        lattice, dynamics = self.lattice, self.dynamics
        stops = dynamics.tolerance > 0
        # Graphs of one length, as far as that is possible, are compiled once.
        graphs = math.ceil(count / STEPS_AT_ONCE)
        at_once = 1 if stops or self.record else math.ceil(count / graphs)
        usage, z, changes, states = [], [], [], []
        for t in range(first, first + count, at_once):
            number = min(at_once, first + count - t)
            x_CM, usage_XN, z_part, change_TB = lattice.take_steps(
                x_CM, prepared, active_B if stops else None, number
            )
            usage.append(usage_XN)
            z.append(z_part)
            changes.append(change_TB.mean(1))
            if self.record:
                states.append(x_CM)
            if stops:
                calm_B = torch.where(change_TB[0] <= dynamics.tolerance, calm_B + 1, 0)
                done_B = active_B & (calm_B >= dynamics.patience) & (t >= dynamics.min_steps)
                steps_B = torch.where(done_B, t, steps_B)
                active_B = active_B & ~done_B
                if not self._goes_on(active_B):
                    break
        sums = (torch.stack(usage).sum(0), torch.stack(z).sum(), torch.cat(changes))
        return x_CM, steps_B, calm_B, active_B, *sums, states
