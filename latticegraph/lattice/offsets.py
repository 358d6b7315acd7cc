"""Every distinct step (source minus target) that an edge of the lattice spans.

Shapes: O offsets, 3 axes, 4 edge attributes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from latticegraph.config import LatticeSettings
from latticegraph.lattice.edge_types import EdgeType


@dataclass(frozen=True)
class Offsets:
    """The stencil of a lattice, in ascending (row-major) order of the offsets.

    Args:
        offset_O3: source minus target, in cells, int64; with periodic boundary the shortest of the
            equivalent shifts (of two equally short ones, half an even side away, the positive one).
        type_O: :class:`EdgeType` of each offset, int64.
        attr_O4: distance / max_radius, then the unit direction from target to source, float32; the
            direction of the zero offset is zero.
    """

    offset_O3: npt.NDArray[np.int64]
    type_O: npt.NDArray[np.int64]
    attr_O4: npt.NDArray[np.float32]

    @property
    def is_self_O(self) -> npt.NDArray[np.bool_]:
        """True at the zero offset, if there is one."""
        return np.asarray((self.offset_O3 == 0).all(axis=1))

    def of_type(self, edge_type: EdgeType) -> npt.NDArray[np.int64]:
        """Offsets of one type, self-edges left out. Shapes: [offsets of the type, 3]."""
        chosen_O: npt.NDArray[np.bool_] = (self.type_O == edge_type) & ~self.is_self_O
        return self.offset_O3[chosen_O]


def squared_limits(settings: LatticeSettings) -> tuple[int, int, int]:
    """Largest integer squared distance within the local, functional and distant radius.

    d^2 is an integer, so ``d <= t`` is ``d^2 <= floor(t^2)``: no rounding anywhere.

    >>> squared_limits(LatticeSettings(dimensions=(15, 15, 15)))
    (0, 3, 9)
    """
    local, functional, distant = (math.floor(t * t) for t in settings.exact_thresholds)
    return local, functional, distant


@lru_cache(maxsize=4)
def lattice_offsets(settings: LatticeSettings) -> Offsets:
    """All offsets that at least one edge of the lattice spans.

    They are remembered, for a million of them take most of a second; leave the arrays as they are.

    Args:
        settings: sizes, radii, boundary and ``self_edges`` are read.

    Shapes: O offsets, at most (2 r + 1)^3 with r the distant radius in cells.
    """
    limits = squared_limits(settings)
    reach = math.isqrt(limits[-1])
    axes = [_axis_offsets(size, reach, settings.boundary) for size in settings.dimensions]
    offset_O3 = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    squared_O = (offset_O3**2).sum(axis=1)
    keep_O = squared_O <= limits[-1]
    if not settings.self_edges:
        keep_O &= squared_O > 0
    offset_O3, squared_O = offset_O3[keep_O], squared_O[keep_O]
    # side="left": a squared distance equal to a limit still belongs to that limit's type.
    type_O = np.searchsorted(np.asarray(limits), squared_O, side="left").astype(np.int64)
    distance_O1 = np.sqrt(squared_O.astype(np.float64))[:, None]
    direction_O3 = offset_O3 / np.maximum(distance_O1, 1.0)
    attr_O4 = np.concatenate([distance_O1 / settings.max_radius, direction_O3], axis=1)
    return Offsets(offset_O3, type_O, attr_O4.astype(np.float32))


def _axis_offsets(size: int, reach: int, boundary: str) -> npt.NDArray[np.int64]:
    """Distinct steps along one axis: one per residue when it wraps, so that none counts twice."""
    if boundary == "periodic":
        low, high = (size - 1) // 2, size // 2
    else:
        low, high = size - 1, size - 1
    return np.arange(-min(low, reach), min(high, reach) + 1, dtype=np.int64)
