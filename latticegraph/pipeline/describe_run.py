"""The lattice of a configuration, described without building it."""

from __future__ import annotations

from typing import Any

from latticegraph.config import Config
from latticegraph.errors import LatticeGraphError
from latticegraph.lattice import LatticeGraph, describe_lattice
from latticegraph.model.memory import plan_rollout, rollout_work
from latticegraph.model.neighbourhoods import resolve_backend, summed_stencils


def describe(config: Config) -> dict[str, Any]:
    """Counts and degrees per edge type, thresholds, reach, steps to cross, memory, warnings.

    Args:
        config: the sections lattice and model, and the batch size, apply.

    Returns:
        A dictionary that JSON can hold; see :func:`latticegraph.lattice.describe_lattice`. Its
        ``rollout`` tells how sums over neighbours are computed on a CPU, and how one forward and
        backward pass of a batch fits into ``model.max_memory_gb``.
    """
    dynamics = config.model.dynamics
    description = describe_lattice(
        config.lattice,
        steps=dynamics.steps if dynamics.mode == "lattice" else None,
        channels=config.model.state_channels,
        batch=config.training.batch_size,
    )
    return description | {"rollout": _rollout(config)}


def _rollout(config: Config) -> dict[str, Any] | None:
    """Way of summing and memory of one forward and backward pass; None where nothing can run."""
    settings, batch = config.model, config.training.batch_size
    try:
        graph = LatticeGraph.build(config.lattice)
        backend = resolve_backend(settings, graph, batch, "cpu")
        stencils = summed_stencils(graph)
        work = rollout_work(settings, graph.num_cells, stencils, backend, batch)
        plan = plan_rollout(work, settings.max_memory_gb, config.training.recomputed_steps)
    except LatticeGraphError:  # described by the warnings, or said when the run starts
        return None
    return {
        "aggregation": backend,
        "memory_gb": plan.gb,
        "samples_at_once": plan.samples,
        "recomputed_steps": plan.checkpoint_steps,
        "text": str(plan),
    }
