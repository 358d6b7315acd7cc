"""Z-order (Morton) numbering of the cells of a box of any shape.

Shapes: N cells, 3 axes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_LARGEST_COORDINATE = 2**20


def morton_codes(coordinates_N3: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Interleave the bits of three coordinates; the last axis owns the lowest bit.

    Source: G. M. Morton, "A computer oriented geodetic data base and a new technique in file
    sequencing", IBM, 1966.

    Args:
        coordinates_N3: non-negative cell coordinates below 2^20.

    Shapes: [N, 3] -> [N].

    >>> morton_codes(np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 2]])).tolist()
    [1, 2, 4, 8]
    """
    largest = int(coordinates_N3.max(initial=0))
    assert largest < _LARGEST_COORDINATE, "three interleaved coordinates must fit into 63 bits"
    codes_N = np.zeros(len(coordinates_N3), dtype=np.int64)
    for bit in range(largest.bit_length()):
        for axis in range(3):
            codes_N |= ((coordinates_N3[:, axis] >> bit) & 1) << (3 * bit + 2 - axis)
    return codes_N


def morton_order(coordinates_N3: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The rows of ``coordinates_N3`` in Z-order; gaps of a shape that is no power of two close up.

    Shapes: [N, 3] -> [N], a permutation.
    """
    return np.argsort(morton_codes(coordinates_N3), kind="stable").astype(np.int64)
