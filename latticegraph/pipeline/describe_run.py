"""The lattice of a configuration, described without building it."""

from __future__ import annotations

from typing import Any

import torch

import latticegraph.kernels  # noqa: F401  registers what built-in experts keep
from latticegraph.aggregation.aggregation import (
    edge_sets,
    has_own_edges,
    resolve_backend,
    summed_stencils,
)
from latticegraph.aggregation.memory import plan_rollout, rollout_work
from latticegraph.config import Config
from latticegraph.dynamics.kernel import kept_states
from latticegraph.dynamics.make_expert import make_expert
from latticegraph.errors import ConfigError, LatticeGraphError
from latticegraph.lattice import LatticeGraph, check_stopping, describe_lattice


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
    if dynamics.mode == "lattice":
        try:
            check_stopping(config.lattice, dynamics)
        except ConfigError as error:
            description["warnings"].append(str(error))
    return description | {"rollout": _rollout(config)}


def _rollout(config: Config) -> dict[str, Any] | None:
    """Way of summing and memory of one forward and backward pass; None where nothing can run."""
    settings, batch = config.model, config.training.batch_size
    try:
        graph = LatticeGraph.build(config.lattice)
        backend = resolve_backend(settings, graph, batch, "cpu")
        edges = edge_sets(settings)
        own = has_own_edges(settings)
        self_only = [
            not (apart or summed_stencils(graph, [types]))
            for types, apart in zip(edges, own, strict=True)
        ]
        with torch.device("meta"):  # of weights only the classes count here
            experts = [make_expert(settings, index, graph) for index in range(len(edges))]
        kept = kept_states(experts, self_only, plain=settings.kernel == "plain")
        stencils = summed_stencils(graph, edges)
        work = rollout_work(settings, graph.num_cells, stencils, backend, kept, batch)
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
