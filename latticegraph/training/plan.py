"""Phase, epoch and learning rate of every update, as pure functions of its number."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from latticegraph.config import PhaseSettings, TrainingSettings
from latticegraph.distributed import Processes
from latticegraph.errors import ConfigError


def learning_rate(phase: PhaseSettings, update: int, length: int) -> float:
    r"""The rate of one update; a pure function of these three arguments.

    With w the number of warm-up updates, f ``final_ratio`` and :math:`t = (k - w) / (L - w)`:

    .. math::
        \eta_k = \eta \cdot \begin{cases}
            (k + 1) / (w + 1) & k < w \\
            1 & \text{constant} \\
            1 - (1 - f)\, t & \text{linear} \\
            f + (1 - f)\, (1 + \cos \pi t) / 2 & \text{cosine (Loshchilov and Hutter, 2017)}
        \end{cases}

    Args:
        phase: peak rate, schedule, warm-up share and final ratio.
        update: k, from 0, within the phase.
        length: L, updates of the phase.
    """
    rising = round(phase.warmup * length)
    if update < rising:
        return phase.learning_rate * (update + 1) / (rising + 1)
    if phase.schedule == "constant":
        return phase.learning_rate
    done = (update - rising) / (length - rising)
    left = 1 - done if phase.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return phase.learning_rate * (phase.final_ratio + (1 - phase.final_ratio) * left)


@dataclass(frozen=True)
class PlannedUpdate:
    """One update of the plan.

    Attributes:
        number: of the update, from 1.
        phase: index of its phase.
        phase_update: updates of that phase before it.
        learning_rate: before the scale of each part of the student.
        progress: share of all updates that are done before it.
    """

    number: int
    phase: int
    phase_update: int
    learning_rate: float
    progress: float = 0.0


class TrainingPlan:
    """The phases of a run, one after the other, over epochs of equal length.

    The incomplete batch at the end of an epoch is left out, so that every update weighs the same
    number of samples. A phase given in updates may end inside an epoch; the next one goes on there.

    Args:
        settings: batch size, accumulation and phases.
        samples: training pairs.

    Attributes:
        updates_per_epoch: updates of one pass over the training pairs.
        lengths: updates of each phase.
        total: updates of all phases.

    Raises:
        ConfigError: when one update needs more samples than there are.
    """

    def __init__(self, settings: TrainingSettings, samples: int) -> None:
        self.settings = settings
        self.updates_per_epoch = samples // (settings.batch_size * settings.accumulate)
        if not self.updates_per_epoch:
            raise ConfigError(
                "training.batch_size",
                f"expected batch_size * accumulate of at most {samples} (the training samples), "
                f"got {settings.batch_size} * {settings.accumulate}",
                "Lower training.batch_size or training.accumulate, or give more text in data.train",
            )
        self.lengths = tuple(
            phase.updates or phase.epochs * self.updates_per_epoch for phase in settings.phases
        )
        self.total = sum(self.lengths)

    def at(self, update: int) -> PlannedUpdate:
        """The plan of one update, counted from 0 to total - 1."""
        phase, first = 0, 0
        while update >= first + self.lengths[phase]:
            first += self.lengths[phase]
            phase += 1
        rate = learning_rate(self.settings.phases[phase], update - first, self.lengths[phase])
        return PlannedUpdate(update + 1, phase, update - first, rate, update / self.total)

    def latest(self, done: int) -> PlannedUpdate:
        """The latest of ``done`` updates; the first one where none is done."""
        return self.at(max(done - 1, 0))

    def epochs(self, done: int) -> int:
        """Epochs that ``done`` updates have entered; 1 from the first update of the first on."""
        return -(-done // self.updates_per_epoch)

    def ends_epoch(self, done: int) -> bool:
        """Whether an epoch is complete after ``done`` updates."""
        return done % self.updates_per_epoch == 0

    def is_logged(self, done: int) -> bool:
        """Whether a log line is due after ``done`` updates."""
        return done % self.settings.log_every == 0 or done == self.total


def mixed_seed(seed: int, number: int) -> int:
    """One 63-bit seed out of two numbers, without the clashes of a sum (SplitMix64)."""
    mask = 2**64 - 1
    mixed = (seed * 0x9E3779B97F4A7C15 + number + 1) & mask
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = ((mixed ^ (mixed >> shift)) * factor) & mask
    return (mixed ^ (mixed >> 31)) >> 1


def seed_process(seed: int, update: int, processes: Processes) -> None:
    """Seed every process differently in an update, and the same again after a resume.

    A single process goes on with its one stream.
    """
    if processes.size > 1:
        torch.manual_seed(mixed_seed(mixed_seed(seed, update), processes.rank))
