"""The loop over steps, and how chunks of one batch become one.

Legend: C channels, N cells, B batch, b samples of a chunk, M = N b columns, X experts, T steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from latticegraph.aggregation import Layout, PreparedWeights
from latticegraph.config.model import DynamicsSettings
from latticegraph.dynamics.dynamics import Rollout
from latticegraph.dynamics.interventions import Edits, Intervention
from latticegraph.dynamics.recorder import Recorder, StepRecord
from latticegraph.dynamics.step import Step

# Most steps of one compiled graph: every call costs time, and every step six seconds of compiling.
STEPS_AT_ONCE = 8

Statistics = tuple[Tensor, Tensor, Tensor, Tensor]
"""States after some steps; usage (X, N) and z, summed over steps; relative change (count, B)."""


@dataclass(frozen=True)
class Weights:
    """What all steps of a rollout share, computed once from the parameters.

    Attributes:
        sums: edge weights of every expert, prepared for its aggregation.
        fused: what the fused step prepares besides; None: the plain step is taken.
    """

    sums: tuple[PreparedWeights, ...]
    fused: Any = None


class Stepper(Protocol):
    """What the loop needs of a lattice."""

    names: tuple[str, ...]
    layout: Layout
    total_cells: int

    def one_step(self, x_CM: Tensor, weights: Weights, edits: Edits, keep: bool) -> Step:
        """One step with interventions; ``keep`` returns the proposals."""


def statistics(
    layout: Layout, x_CM: Tensor, step: Step, active_B: Tensor | None, cells: int
) -> Statistics:
    """States and statistics of one step; samples that have converged stay as they were.

    Args:
        layout: order of the columns.
        x_CM: states before the step.
        step: what it did.
        active_B: samples that have not converged; None: all.
        cells: of the whole lattice.
    """
    gate, new_CM, change_B = step.gate, step.states_CM, step.change_B
    z_B = layout.per_sample(gate.z_M).sum(layout.cell_axis) / cells
    if active_B is None:
        return new_CM, layout.over_samples(gate.share_XM, None), z_B.sum(), change_B
    counted_B = active_B.to(x_CM.dtype)
    old, new = layout.per_sample(x_CM), layout.per_sample(new_CM)
    new_CM = torch.where(layout.spread(active_B), new, old).flatten(1)
    usage_XN = layout.over_samples(gate.share_XM, counted_B)
    return new_CM, usage_XN, (z_B * counted_B).sum(), torch.where(active_B, change_B, 0.0)


@dataclass(frozen=True)
class Loop:
    """The loop over steps of one rollout, in segments that the backward pass may recompute.

    Args:
        stepper: the lattice.
        take_steps: takes several of its steps.
        dynamics: convergence and truncation of the backward pass.
        steps: maximum number of steps.
        checkpoint_steps: steps whose inner values are recomputed together; 0 keeps them all.
        weights: what all steps share.
        recorder: called after every step.
        interventions: changes of the dynamics.
    """

    stepper: Stepper
    take_steps: Callable[[Tensor, Weights, Tensor | None, int], Statistics]
    dynamics: DynamicsSettings
    steps: int
    checkpoint_steps: int
    weights: Callable[[], Weights]
    recorder: Recorder | None = None
    interventions: Sequence[Intervention] = ()

    def run(self, x_CNb: Tensor, samples: slice, recorded: set[tuple[int, int]]) -> Rollout:
        """All steps of some samples.

        Args:
            x_CNb: first states.
            samples: which samples of the batch these are.
            recorded: first sample and step of what the recorder has seen; grows. The backward pass
                may repeat steps, and records none of them again.
        """
        layout, batch, place = self.stepper.layout, x_CNb.shape[2], x_CNb.device
        weights = self.weights()
        x_CM = layout.columns(x_CNb)
        steps_B = torch.full((batch,), self.steps, device=place)
        converged_B = torch.zeros(batch, dtype=torch.int64, device=place)
        active_B = torch.ones(batch, dtype=torch.bool, device=place)
        usage, z, changes = [], [], []
        for part in self._segments():
            state = (x_CM, steps_B, converged_B, active_B)
            values = (state, weights, part, samples, recorded)
            if sum(part) - 1 <= self._without_gradient():
                with torch.no_grad():
                    done = self._segment(*values)
            elif self.checkpoint_steps and torch.is_grad_enabled():
                done = checkpoint(self._segment, *values, use_reentrant=False)
            else:
                done = self._segment(*values)
            x_CM, steps_B, converged_B, active_B, usage_XN, z_part, change_T = done
            usage.append(usage_XN)
            z.append(z_part)
            changes.append(change_T)
            if not self._goes_on(active_B):
                break
        taken = steps_B.sum()
        return Rollout(
            states_CNB=layout.states(x_CM),
            usage_XN=torch.stack(usage).sum(0) / taken,
            change_T=torch.cat(changes),
            steps_B=steps_B,
            z=torch.stack(z).sum() / taken,
        )

    def _segment(
        self,
        state: tuple[Tensor, Tensor, Tensor, Tensor],
        weights: Weights,
        part: tuple[int, int],
        samples: slice,
        recorded: set[tuple[int, int]],
    ) -> tuple[Tensor, ...]:
        """Some steps: the state as it becomes, sums of usage and z, and changes."""
        x_CM, steps_B, converged_B, active_B = state
        first, count = part
        dynamics, stops = self.dynamics, self.dynamics.tolerance > 0
        observed = self.recorder is not None or bool(self.interventions)
        # Graphs of one length, as far as that is possible, are compiled once.
        graphs = math.ceil(count / STEPS_AT_ONCE)
        at_once = 1 if stops or observed else math.ceil(count / graphs)
        usage, z, changes = [], [], []
        for t in range(first, first + count, at_once):
            number = min(at_once, first + count - t)
            moving_B = active_B if stops else None
            if observed:
                done = self._observed(x_CM, weights, moving_B, t, samples, recorded)
            else:
                done = self.take_steps(x_CM, weights, moving_B, number)
            x_CM, usage_XN, z_part, change_TB = done
            usage.append(usage_XN)
            z.append(z_part)
            changes.append(change_TB.mean(1))
            if stops:
                small_B = change_TB[0] <= dynamics.tolerance
                converged_B = torch.where(small_B, converged_B + 1, 0)
                enough_B = converged_B >= dynamics.patience
                done_B = active_B & enough_B & (t >= dynamics.min_steps)
                steps_B = torch.where(done_B, t, steps_B)
                active_B = active_B & ~done_B
                if not self._goes_on(active_B):
                    break
        sums = (torch.stack(usage).sum(0), torch.stack(z).sum(), torch.cat(changes))
        return x_CM, steps_B, converged_B, active_B, *sums

    def _observed(
        self,
        x_CM: Tensor,
        weights: Weights,
        active_B: Tensor | None,
        step: int,
        samples: slice,
        recorded: set[tuple[int, int]],
    ) -> Statistics:
        """One step with interventions, passed to the recorder."""
        stepper, layout = self.stepper, self.stepper.layout
        active = [edit for edit in self.interventions if edit.applies(step)]
        edits = Edits(active, stepper.names, layout, samples) if active else Edits()
        keep = self.recorder is not None
        done = stepper.one_step(x_CM, weights, edits, keep)
        new_CM, usage_XN, z, change_B = statistics(
            layout, x_CM, done, active_B, stepper.total_cells
        )
        key = (samples.start, step)
        if self.recorder is not None and key not in recorded:
            recorded.add(key)
            proposals = {
                name: layout.states(y_CM)
                for name, y_CM in zip(stepper.names, done.proposals, strict=True)
            }
            gates_XNb = layout.states(done.gate.share_XM)
            before, after = layout.states(x_CM), layout.states(new_CM)
            self.recorder.record(StepRecord(step, samples, before, after, gates_XNb, proposals))
        return new_CM, usage_XN, z, change_B[None]

    def _segments(self) -> list[tuple[int, int]]:
        """Number of the first step, from 1, and steps of each segment."""
        before = self._without_gradient()
        segments = [(1, before)] if before else []
        length = self.checkpoint_steps or self.steps
        first, end = before + 1, self.steps + 1
        return segments + [(t, min(length, end - t)) for t in range(first, end, length)]

    def _without_gradient(self) -> int:
        """First steps that gradients do not reach."""
        kept = self.dynamics.backprop_steps
        return 0 if kept is None else max(0, self.steps - kept)

    def _goes_on(self, active_B: Tensor) -> bool:
        """Whether any sample has not converged; synchronises only where samples may stop."""
        return self.dynamics.tolerance <= 0 or bool(active_B.any())


def in_chunks(loop: Loop, x_CNB: Tensor, samples: int) -> Rollout:
    """The rollout of a batch in chunks of ``samples``, recomputed in the backward pass.

    Args:
        loop: runs one chunk.
        x_CNB: first states.
        samples: of one chunk.
    """
    recorded: set[tuple[int, int]] = set()

    def part(x_CNb: Tensor, first: int) -> tuple[Tensor, ...]:
        own = slice(first, first + x_CNb.shape[2])
        return tuple(vars(loop.run(x_CNb, own, recorded)).values())

    again = torch.is_grad_enabled()
    fields = [
        checkpoint(part, x_CNb, index * samples, use_reentrant=False)
        if again
        else part(x_CNb, index * samples)
        for index, x_CNb in enumerate(x_CNB.split(samples, dim=2))
    ]
    return join_chunks([Rollout(*values) for values in fields])


def join_chunks(chunks: Sequence[Rollout]) -> Rollout:
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

    changes = [pad(c.change_T, (0, longest - c.change_T.numel())) for c in chunks]
    return Rollout(
        states_CNB=torch.cat([c.states_CNB for c in chunks], dim=2),
        usage_XN=mean([c.usage_XN for c in chunks], steps),
        change_T=mean(changes, samples),
        steps_B=torch.cat([c.steps_B for c in chunks]),
        z=mean([c.z for c in chunks], steps),
    )
