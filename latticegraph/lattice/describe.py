"""A summary of a lattice that builds no edge, so that 50x50x50 takes milliseconds."""

from __future__ import annotations

import math
from typing import Any

from latticegraph.config import LatticeSettings
from latticegraph.errors import GraphError
from latticegraph.lattice.checks import check_reach, check_types
from latticegraph.lattice.counts import count_degrees, count_edges
from latticegraph.lattice.crossing import crossing_steps, reach
from latticegraph.lattice.edge_types import EdgeType

_INTEGER_BYTES = 8
_FLOAT_BYTES = 4
_LARGE_GB = 2.0


def describe_lattice(
    settings: LatticeSettings, *, steps: int | None = None, channels: int = 1, batch: int = 1
) -> dict[str, Any]:
    """Counts, degrees, reach, memory and warnings of the lattice.

    Args:
        settings: the lattice; nothing about it raises here, problems become warnings.
        steps: ``model.dynamics.steps``, to be warned of too few; None leaves that out.
        channels: numbers per cell, for the memory of one state.
        batch: samples, for the memory of one state.

    Returns:
        A dictionary that JSON can hold. ``edges`` and ``degrees`` leave self-edges out of local.
        ``crossing_steps`` is None where no signal ever crosses. ``memory`` counts 1e9 bytes:
        ``edges_gb`` edge_index and edge_offset as stored, ``attributes_gb`` edge_type and edge_attr
        once asked for, ``csr_gb`` one CSR matrix per type with one float32 weight an edge,
        ``state_gb`` one float32 state of all cells.
    """
    cells = math.prod(settings.dimensions)
    radii = settings.get_distance_thresholds()
    counts = count_edges(settings)
    memory = _memory(cells, sum(counts.values()), channels * batch)
    return {
        "cells": cells,
        "max_radius": radii.pop("max_radius"),
        "thresholds": radii,
        "edges": counts,
        "degrees": count_degrees(settings),
        "reach": reach(settings),
        "crossing_steps": crossing_steps(settings),
        "memory": memory,
        "warnings": _warnings(settings, counts, memory, steps),
    }


def _memory(cells: int, edges: int, numbers_per_cell: int) -> dict[str, float]:
    csr = edges * (_INTEGER_BYTES + _FLOAT_BYTES) + len(EdgeType) * (cells + 1) * _INTEGER_BYTES
    return {
        "edges_gb": edges * 3 * _INTEGER_BYTES / 1e9,
        "attributes_gb": edges * (_INTEGER_BYTES + 4 * _FLOAT_BYTES) / 1e9,
        "csr_gb": csr / 1e9,
        "state_gb": cells * numbers_per_cell * _FLOAT_BYTES / 1e9,
    }


def _warnings(
    settings: LatticeSettings, counts: dict[str, int], memory: dict[str, float], steps: int | None
) -> list[str]:
    warnings = []
    try:
        check_types(settings)
        if steps is not None:
            check_reach(settings, steps)
    except GraphError as error:
        warnings.append(str(error))
    if counts["local"] == 0 and counts["self"] > 0:
        warnings.append(
            f"local edges: only self-edges, the local radius "
            f"{settings.local_distance_threshold:g} is below one cell; the local expert sees "
            "each cell alone"
        )
    needed = crossing_steps(settings)
    straight = crossing_steps(settings.model_copy(update={"boundary": "open"}))
    if settings.surface == "front_back" and needed != straight:
        warnings.append(
            f"lattice.boundary: periodic wrapping joins the back face to the front face, a signal "
            f"crosses in {needed} step(s) instead of {straight}"
        )
    if memory["edges_gb"] > _LARGE_GB:
        warnings.append(
            f"memory: the edges take {memory['edges_gb']:.1f} GB as stored, and "
            f"{memory['attributes_gb']:.1f} GB more once their attributes are asked for"
        )
    return warnings
