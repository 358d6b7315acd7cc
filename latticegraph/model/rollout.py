"""What a rollout returns, and how chunks of one batch become one.

Legend: C channels, N cells, B batch, X experts, T steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class Rollout:
    """What the dynamics did.

    Attributes:
        states_CNB: final states.
        usage_XN: gate shares, averaged over the steps that each sample took.
        change_T: change of the state in each step relative to its norm, averaged over samples.
        steps_B: steps each sample took before it converged.
        z: squared log-partition of the gates, averaged like usage_XN.
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
