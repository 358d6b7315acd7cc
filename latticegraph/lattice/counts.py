"""Exact numbers of edges and degrees, without building an edge.

Shapes: O offsets, 3 axes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from latticegraph.config import LatticeSettings
from latticegraph.lattice.edge_types import EdgeType
from latticegraph.lattice.offsets import Offsets, lattice_offsets


def edges_per_offset(settings: LatticeSettings, offsets: Offsets) -> npt.NDArray[np.int64]:
    """Number of edges that span each offset.

    Open boundary: product over the axes of (size - |offset|). Periodic: every cell has one.

    Shapes: [O].
    """
    if settings.boundary == "periodic":
        return np.full(len(offsets.offset_O3), math.prod(settings.dimensions), dtype=np.int64)
    room_O3 = np.asarray(settings.dimensions, dtype=np.int64) - np.abs(offsets.offset_O3)
    return np.asarray(room_O3.prod(axis=1), dtype=np.int64)


def count_edges(settings: LatticeSettings) -> dict[str, int]:
    """Directed edges per type, self-edges apart.

    >>> count_edges(LatticeSettings())
    {'self': 512, 'local': 0, 'functional': 2688, 'distant': 4704}
    """
    offsets = lattice_offsets(settings)
    count_O = edges_per_offset(settings, offsets)
    counts = {"self": int(count_O[offsets.is_self_O].sum())}
    for edge_type in EdgeType:
        chosen_O = (offsets.type_O == edge_type) & ~offsets.is_self_O
        counts[edge_type.label] = int(count_O[chosen_O].sum())
    return counts


def count_degrees(settings: LatticeSettings) -> dict[str, dict[str, float]]:
    """Smallest, mean and largest number of edges per cell and type, self-edges left out."""
    offsets = lattice_offsets(settings)
    degrees: dict[str, dict[str, float]] = {}
    for edge_type in EdgeType:
        degree = _degree_field(settings, offsets.of_type(edge_type))
        degrees[edge_type.label] = {
            "min": int(degree.min()),
            "mean": float(degree.mean()),
            "max": int(degree.max()),
        }
    return degrees


def _degree_field(settings: LatticeSettings, offset_O3: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Edges per cell, on the grid of cells.

    An open cell at c owns the offsets within the box [-c, size - 1 - c]: a box query on the
    summed-volume table of the stencil, eight reads a cell whatever the radius.
    """
    if settings.boundary == "periodic":
        return np.full(settings.dimensions, len(offset_O3), dtype=np.int64)
    reach_3 = np.abs(offset_O3).max(axis=0, initial=0)
    stencil = np.zeros(tuple(2 * reach_3 + 1), dtype=np.int64)
    stencil[tuple((offset_O3 + reach_3).T)] = 1
    table = np.pad(stencil, ((1, 0),) * 3)
    for axis in range(3):
        table = table.cumsum(axis=axis)
    for axis, size in enumerate(settings.dimensions):
        cells = np.arange(size)
        width = 2 * reach_3[axis] + 1
        first = np.clip(reach_3[axis] - cells, 0, width)
        beyond = np.clip(reach_3[axis] + size - cells, 0, width)
        table = table.take(beyond, axis=axis) - table.take(first, axis=axis)
    return table
