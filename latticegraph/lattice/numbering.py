"""Numbers of cells: row-major or Z-order, and the way between coordinates and numbers.

Shapes: N cells, 3 axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latticegraph.config import LatticeSettings
from latticegraph.lattice.morton import morton_order


@dataclass(frozen=True)
class Numbering:
    """A bijection between the cells of a lattice and 0..N-1.

    Args:
        coordinates_N3: coordinates of each cell, by cell number, int64.
        number_N: cell number, by row-major index of the cell, int64.
    """

    coordinates_N3: npt.NDArray[np.int64]
    number_N: npt.NDArray[np.int64]


def row_major_coordinates(dimensions: tuple[int, int, int]) -> npt.NDArray[np.int64]:
    """Coordinates of all cells, the last axis running fastest. Shapes: [N, 3]."""
    return np.indices(dimensions, dtype=np.int64).reshape(3, -1).T.copy()


def number_cells(settings: LatticeSettings) -> Numbering:
    """Number the cells in the order that ``settings.numbering`` asks for."""
    coordinates_N3 = row_major_coordinates(settings.dimensions)
    number_N = np.arange(len(coordinates_N3), dtype=np.int64)
    if settings.numbering == "morton":
        order_N = morton_order(coordinates_N3)
        number_N[order_N] = np.arange(len(order_N), dtype=np.int64)
        coordinates_N3 = coordinates_N3[order_N]
    return Numbering(coordinates_N3, number_N)
