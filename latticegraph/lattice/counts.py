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
    own = math.prod(settings.dimensions) if offsets.is_self_O.any() else 0
    return {"self": own} | {
        edge_type.label: _edges(settings, offsets.of_type(edge_type)) for edge_type in EdgeType
    }


def count_degrees(settings: LatticeSettings) -> dict[str, dict[str, float]]:
    """Smallest, mean and largest number of edges per cell and type, self-edges left out."""
    offsets = lattice_offsets(settings)
    cells = math.prod(settings.dimensions)
    degrees: dict[str, dict[str, float]] = {}
    for edge_type in EdgeType:
        chosen = offsets.of_type(edge_type)
        degree = _degree_field(settings, chosen)
        edges = _edges(settings, chosen)
        degrees[edge_type.label] = {
            "min": int(degree.min()),
            "mean": edges / cells,
            "max": int(degree.max()),
        }
    return degrees


def _edges(settings: LatticeSettings, offset_O3: npt.NDArray[np.int64]) -> int:
    """Edges that span one of the offsets, exact above 2^63 too."""
    if settings.boundary == "periodic":
        return len(offset_O3) * math.prod(settings.dimensions)
    room_O3 = np.asarray(settings.dimensions, dtype=np.int64) - np.abs(offset_O3)
    return sum(room_O3.prod(axis=1).tolist())


def _degree_field(settings: LatticeSettings, offset_O3: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Edges per cell, on a grid of cells that stand for all: those in the middle are alike.

    An open cell at c owns the offsets within the box [-c, size - 1 - c]: a box query on the
    summed-volume table of the stencil, eight reads a cell whatever the radius. Of the cells that
    are further from both faces of an axis than any offset reaches, one is enough.
    """
    if settings.boundary == "periodic":
        return np.full((1, 1, 1), len(offset_O3), dtype=np.int64)
    reach_3 = np.abs(offset_O3).max(axis=0, initial=0)
    stencil = np.zeros(tuple(2 * reach_3 + 1), dtype=np.int64)
    stencil[tuple((offset_O3 + reach_3).T)] = 1
    table = np.pad(stencil, ((1, 0),) * 3)
    for axis in range(3):
        table = table.cumsum(axis=axis)
    for axis, size in enumerate(settings.dimensions):
        reach = int(reach_3[axis])
        cells = np.arange(size)
        if size > 2 * reach + 1:
            cells = np.concatenate([cells[: reach + 1], cells[size - reach :]])
        first = np.clip(reach - cells, 0, 2 * reach + 1)
        beyond = np.clip(reach + size - cells, 0, 2 * reach + 1)
        table = table.take(beyond, axis=axis) - table.take(first, axis=axis)
    return table
