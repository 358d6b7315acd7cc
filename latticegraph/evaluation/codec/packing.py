"""Small integers in as few bytes as they need.

Legend: N texts, S numbers, Y bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pack(indices_NS: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Indices below 2^bits, row by row and without gaps; only a row's last byte may be padded.

    Args:
        indices_NS: integers from 0 to 2^bits - 1.
        bits: of each index, 1 to 8.

    Shapes:
        indices_NS: [N, S]; result: [N, ceil(S bits / 8)].
    """
    rows = len(indices_NS)
    every_bit = np.unpackbits(indices_NS[:, :, None], axis=2)[:, :, 8 - bits :]
    return np.packbits(every_bit.reshape(rows, -1), axis=1)


def unpack(stored_NY: NDArray[np.uint8], bits: int, numbers: int) -> NDArray[np.uint8]:
    """The indices that :func:`pack` stored.

    Args:
        stored_NY: of :func:`pack`.
        bits: of each index, 1 to 8.
        numbers: S.

    Shapes:
        stored_NY: [N, Y]; result: [N, S].
    """
    rows = len(stored_NY)
    every_bit = np.unpackbits(stored_NY, axis=1, count=numbers * bits)
    padded = np.zeros((rows, numbers, 8), dtype=np.uint8)
    padded[:, :, 8 - bits :] = every_bit.reshape(rows, numbers, bits)
    return np.packbits(padded, axis=2)[:, :, 0]
