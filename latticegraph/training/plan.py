"""Which phase, epoch, rate and batch belong to an update: pure functions of its number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from latticegraph.config import PhaseSettings, TrainingSettings
from latticegraph.distributed import Processes
from latticegraph.errors import ConfigError


def learning_rate(phase: PhaseSettings, update: int, length: int) -> float:
    r"""The rate of one update; nothing but these three numbers decides it.

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
class Moment:
    """Where one update stands.

    Attributes:
        phase: index of its phase.
        phase_update: updates of that phase before it.
        epoch: passes over the training pairs completed before it.
        position: updates of its epoch before it.
        rate: its learning rate.
    """

    phase: int
    phase_update: int
    epoch: int
    position: int
    rate: float


class TrainingPlan:
    """All phases laid end to end over epochs of equal length.

    The incomplete batch at the end of an epoch is left out, so that every update weighs the same
    number of samples. A phase given in updates may end inside an epoch; the next one goes on there.

    Args:
        settings: batch size, accumulation and phases.
        samples: training pairs.
        seed: of the order of the samples.

    Attributes:
        updates_per_epoch: updates of one pass over the training pairs.
        lengths: updates of each phase.
        total: updates of all phases.

    Raises:
        ConfigError: when one update needs more samples than there are.
    """

    def __init__(self, settings: TrainingSettings, samples: int, seed: int) -> None:
        self.settings = settings
        self.samples = samples
        self.seed = seed
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
        self._ordered_epoch = -1
        self._order_N = torch.empty(0, dtype=torch.int64)

    def moment(self, update: int) -> Moment:
        """Phase, epoch and rate of update number ``update``, from 0 to total - 1."""
        phase, first = 0, 0
        while update >= first + self.lengths[phase]:
            first += self.lengths[phase]
            phase += 1
        rate = learning_rate(self.settings.phases[phase], update - first, self.lengths[phase])
        return Moment(phase, update - first, *divmod(update, self.updates_per_epoch), rate)

    def last_moment(self, done: int) -> Moment:
        """The moment of the latest of ``done`` updates; of the first one where none is done."""
        return self.moment(max(done - 1, 0))

    def epochs(self, done: int) -> int:
        """Epochs that ``done`` updates have entered; 1 from the first update of the first on."""
        return -(-done // self.updates_per_epoch)

    def ends_epoch(self, done: int) -> bool:
        """Whether an epoch is complete after ``done`` updates."""
        return done % self.updates_per_epoch == 0

    def batches(self, update: int) -> Iterator[Tensor]:
        """Sample numbers of every forward pass of one update; ``accumulate`` tensors [B]."""
        epoch, position = divmod(update, self.updates_per_epoch)
        size, count = self.settings.batch_size, self.settings.accumulate
        order_N = self._order(epoch)
        for index in range(position * count, (position + 1) * count):
            yield order_N[index * size : (index + 1) * size]

    def _order(self, epoch: int) -> Tensor:
        """Order of the samples in one epoch; it depends on the seed and the epoch alone."""
        if self._ordered_epoch != epoch:
            generator = torch.Generator().manual_seed(mixed_seed(self.seed, epoch))
            self._order_N = torch.randperm(self.samples, generator=generator)
            self._ordered_epoch = epoch
        return self._order_N


def mixed_seed(seed: int, number: int) -> int:
    """One 63-bit seed out of two numbers, without the clashes of a sum (SplitMix64)."""
    mask = 2**64 - 1
    mixed = (seed * 0x9E3779B97F4A7C15 + number + 1) & mask
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = ((mixed ^ (mixed >> shift)) * factor) & mask
    return (mixed ^ (mixed >> 31)) >> 1


def seed_process(seed: int, update: int, processes: Processes) -> None:
    """Let every process draw its own numbers in an update, and the same again after a resume.

    A single process goes on with its one stream.
    """
    if processes.size > 1:
        torch.manual_seed(mixed_seed(mixed_seed(seed, update), processes.rank))
