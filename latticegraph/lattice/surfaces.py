"""Cells of the input surface and of the output surface.

Shapes: N cells, 3 axes, S cells of a surface.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latticegraph.config import LatticeSettings
from latticegraph.lattice.numbering import Numbering, row_major_coordinates


def surface_cells(
    settings: LatticeSettings, numbering: Numbering
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Cell numbers of the written and of the read surface, both in row-major order of coordinates.

    ``front_back`` writes the cells at depth 0 of ``settings.axis`` and reads those at the largest
    depth; ``all_faces`` writes and reads every cell of the outer shell; ``volume`` every cell.

    Shapes: two arrays [S].
    """
    coordinates_N3 = row_major_coordinates(settings.dimensions)
    last_3 = np.asarray(settings.dimensions) - 1
    if settings.surface == "front_back":
        depth_N = coordinates_N3[:, settings.axis]
        written_N, read_N = depth_N == 0, depth_N == last_3[settings.axis]
    elif settings.surface == "all_faces":
        written_N = read_N = ((coordinates_N3 == 0) | (coordinates_N3 == last_3)).any(axis=1)
    else:
        written_N = read_N = np.ones(len(coordinates_N3), dtype=np.bool_)
    return numbering.number_N[written_N], numbering.number_N[read_N]
