"""How deep one step carries a signal, and how many steps cross the lattice.

Shapes: O offsets, 3 axes.
"""

from __future__ import annotations

import numpy as np

from latticegraph.config import LatticeSettings
from latticegraph.lattice.edge_types import EdgeType
from latticegraph.lattice.offsets import lattice_offsets


def reach(settings: LatticeSettings) -> dict[str, int]:
    """Largest number of cells along the depth axis that one step carries, per type and over all.

    >>> reach(LatticeSettings(dimensions=(15, 15, 15)))
    {'local': 0, 'functional': 1, 'distant': 3, 'all': 3}
    """
    offsets = lattice_offsets(settings)
    cells = {
        edge_type.label: int(np.abs(offsets.of_type(edge_type)[:, settings.axis]).max(initial=0))
        for edge_type in EdgeType
    }
    return {**cells, "all": max(cells.values())}


def crossing_steps(settings: LatticeSettings) -> int | None:
    """Steps until the input has reached every output cell; None if it never does.

    The offsets fill a ball, so the largest change of depth is also reached along a straight line:
    ``ceil(distance / reach)``. The back face lies side - 1 cells behind the front face, and with a
    periodic boundary one cell before it.

    >>> crossing_steps(LatticeSettings())
    7
    """
    distance = 1 if settings.boundary == "periodic" else settings.dimensions[settings.axis] - 1
    step = reach(settings)["all"]
    return -(-distance // step) if step else None
