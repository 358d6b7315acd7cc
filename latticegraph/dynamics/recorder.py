"""Recorders of a rollout: the interface, and one that keeps all states.

Legend: C channels, N cells, B batch, b samples of a chunk, X experts, T steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class StepRecord:
    """One step of some samples of the batch.

    Attributes:
        step: number of the step, from 1.
        samples: which samples of the batch these are; all of them where memory suffices.
        before_CNb: states before the step.
        after_CNb: states after the step; samples that have converged stay as they were.
        gates_XNb: shares of the experts.
        proposals: states x + u that each expert proposed, by the name of the expert.
    """

    step: int
    samples: slice
    before_CNb: Tensor
    after_CNb: Tensor
    gates_XNb: Tensor
    proposals: Mapping[str, Tensor]


class Recorder(ABC):
    """Is called after every step of a rollout; changes nothing."""

    @abstractmethod
    def record(self, record: StepRecord) -> None:
        """Look at one step, and keep what is wanted of it."""


class TrajectoryRecorder(Recorder):
    """Keeps the states before the first step and after every step."""

    def __init__(self) -> None:
        self._states: dict[int, list[Tensor]] = {}

    def record(self, record: StepRecord) -> None:
        """Keep the states."""
        start = record.samples.start
        self._states.setdefault(start, [record.before_CNb]).append(record.after_CNb)

    @property
    def trajectory_TCNB(self) -> Tensor:
        """All states, T + 1 of them; chunks that converged earlier repeat their last state."""
        longest = max(len(states) for states in self._states.values())
        chunks = []
        for start in sorted(self._states):
            states = self._states[start]
            chunks.append(torch.stack(states + states[-1:] * (longest - len(states))))
        return torch.cat(chunks, dim=3)
