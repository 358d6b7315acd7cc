"""Estimated memory of a rollout, and how to stay within a budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from latticegraph.aggregation.neighbourhood import Backend
from latticegraph.aggregation.stencil import Stencil
from latticegraph.aggregation.transforms import frequencies
from latticegraph.config.model import ModelSettings
from latticegraph.errors import ConfigError

GIB = 2**30

# State-sized tensors, measured with torch's allocator on cubes from 8 to 27 cells a side. Kept for
# the backward pass: what spectra of the values take more than the values.
SPECTRA_PER_STEP: dict[Backend, int] = {"spmm": 0, "fft": 4, "scatter": 0, "conv3d": 0}
# Held at once besides, and held at once where no backward pass follows.
AT_ONCE = 17
WITHOUT_GRADIENTS = 20
MESSAGES_AT_ONCE = 2
# Kernels' spectra: their values, and their gradients twice while one more is added.
SPECTRA = 3
# First and last states of a batch that is done in chunks, and their gradients.
AROUND_CHUNKS = 4


@dataclass(frozen=True)
class Work:
    """What a rollout has to do.

    Args:
        num_cells: N.
        channels: C.
        batch: samples.
        steps: T.
        kept_states: state-sized tensors that a step keeps for the backward pass.
        shared_bytes: what does not grow with the batch.
        gradients: a backward pass follows.
        bytes_per_number: 4 for float32.
        messages: edges per cell where every message is stored, as by ``scatter``.
    """

    num_cells: int
    channels: int
    batch: int
    steps: int
    kept_states: int
    shared_bytes: int
    gradients: bool
    bytes_per_number: int = 4
    messages: int = 0

    def need(self, samples: int, checkpoint_steps: int) -> float:
        """Bytes of a rollout in chunks of ``samples``, recomputed every ``checkpoint_steps``."""
        state = self.num_cells * self.channels * self.bytes_per_number
        if not self.gradients:
            states = WITHOUT_GRADIENTS + MESSAGES_AT_ONCE * self.messages
            return samples * state * states + self.shared_bytes
        kept = min(checkpoint_steps or self.steps, self.steps)
        states = kept * (self.kept_states + self.messages)
        states += AT_ONCE + MESSAGES_AT_ONCE * self.messages
        if checkpoint_steps:
            states += math.ceil(self.steps / checkpoint_steps)
        around = 0 if samples >= self.batch else self.batch * AROUND_CHUNKS
        return (samples * states + around) * state + self.shared_bytes


@dataclass(frozen=True)
class MemoryPlan:
    """Chunks and recomputation of a rollout.

    Args:
        samples: of one chunk; the batch where it is done at once.
        checkpoint_steps: steps recomputed together in the backward pass; 0: none.
        gb: expected need, in 2^30 bytes.
    """

    samples: int
    checkpoint_steps: int
    gb: float

    def __str__(self) -> str:
        way = f"{self.samples} sample(s) at once"
        if self.checkpoint_steps:
            way += f", every {self.checkpoint_steps} step(s) recomputed in the backward pass"
        return f"{self.gb:.2f} GB, {way}"


def rollout_work(
    settings: ModelSettings,
    num_cells: int,
    stencils: Sequence[Stencil],
    backend: Backend,
    kept_states: int,
    batch: int,
    bytes_per_number: int = 4,
) -> Work:
    """A rollout of the configured steps that a backward pass follows.

    Args:
        settings: channels, heads and steps.
        num_cells: N.
        stencils: of the experts whose neighbours are summed.
        backend: how to sum.
        kept_states: state-sized tensors that a step keeps, besides spectra.
        batch: samples.
        bytes_per_number: 4 for float32.
    """
    heads = max(expert.message_options(settings.messages)["heads"] for expert in settings.experts)
    edges = sum(stencil.num_edges for stencil in stencils) if backend == "scatter" else 0
    return Work(
        num_cells=num_cells,
        channels=settings.state_channels,
        batch=batch,
        steps=settings.dynamics.steps,
        kept_states=kept_states + SPECTRA_PER_STEP[backend],
        shared_bytes=shared_bytes(stencils, heads, backend, bytes_per_number),
        gradients=True,
        bytes_per_number=bytes_per_number,
        messages=-(-edges // num_cells),
    )


def shared_bytes(
    stencils: Sequence[Stencil], heads: int, backend: Backend, bytes_per_number: int = 4
) -> int:
    """Bytes of a rollout that do not grow with the batch: the kernels of all experts.

    Args:
        stencils: of the experts.
        heads: H.
        backend: how sums over neighbours are computed.
        bytes_per_number: 4 for float32.
    """
    if backend == "fft":
        numbers = sum(2 * heads * frequencies(s.dimensions, s.reach, s.periodic) for s in stencils)
        return numbers * bytes_per_number * SPECTRA
    if backend == "conv3d":
        places = sum(math.prod(2 * reach + 1 for reach in s.reach) for s in stencils)
        return places * heads * bytes_per_number
    edges = sum(stencil.num_edges for stencil in stencils)
    if backend == "scatter":
        return edges * heads * bytes_per_number * SPECTRA
    # Columns of the matrix and of its transpose, entries of both, and their gradients.
    return edges * heads * (2 * 4 + (1 + SPECTRA) * bytes_per_number)


def plan_rollout(work: Work, budget_gb: float, checkpoint_steps: int = 0) -> MemoryPlan:
    """The cheapest way that stays within the budget; all ways have the same result.

    At once where that fits; else with every few steps recomputed, which costs one more forward
    pass; else also in chunks of samples.

    Args:
        work: what has to be done.
        budget_gb: ``model.max_memory_gb``, in 2^30 bytes.
        checkpoint_steps: steps to recompute together in any case; 0: only where needed.

    Raises:
        ConfigError: when one sample alone does not fit.
    """
    budget = budget_gb * GIB
    wanted = work.need(work.batch, checkpoint_steps)
    if wanted <= budget:
        return MemoryPlan(work.batch, checkpoint_steps, wanted / GIB)
    every = 0
    if work.gradients:
        lengths = range(1, work.steps + 1)
        every = checkpoint_steps or min(lengths, key=lambda k: work.need(work.batch, k))
    samples = _most_samples(work, budget, every)
    if not samples:
        least = work.need(1, every) / GIB * 1.01  # so that what is printed is enough
        raise ConfigError(
            "model.max_memory_gb",
            f"expected at least {least:.3g} for a rollout of {work.steps} steps of "
            f"{work.num_cells:,} cells, got {budget_gb:g}",
            "Raise it, or lower lattice.dimensions, model.state_channels or training.batch_size",
        )
    return MemoryPlan(samples, every, work.need(samples, every) / GIB)


def _most_samples(work: Work, budget: float, checkpoint_steps: int) -> int:
    """Samples of the largest chunk that fits; the need is linear in them below the batch."""
    if work.need(work.batch, checkpoint_steps) <= budget:
        return work.batch
    one = work.need(1, checkpoint_steps)
    if one > budget or work.batch == 1:
        return 0
    # Differences between two chunked ways, both smaller than the batch.
    each = work.need(2, checkpoint_steps) - one if work.batch > 2 else one
    return min(work.batch - 1, 1 + int((budget - one) / each))
