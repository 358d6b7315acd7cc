"""Real numbers as the index of one of a few levels, each number with levels of its own.

Legend: N texts, S numbers of a code, L levels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import Floats, as_float64

_ROUNDS = 400  # of Lloyd's iteration; 16 levels of a Gaussian take about 200


class Quantiser:
    """Replaces each number by the nearest of its own levels.

    Args:
        levels_SL: ascending levels of every number; L is a power of 2, at most 256.

    Shapes:
        levels_SL: [S, L].

    Raises:
        DataError: L is no power of 2 from 2 to 256.
    """

    def __init__(self, levels_SL: Floats) -> None:
        count = levels_SL.shape[1]
        self.bits = count.bit_length() - 1
        if count != 2**self.bits or not 1 <= self.bits <= 8:
            raise DataError(
                "levels", f"expected 2, 4, 8, ... or 256, got {count}", "Choose 1 to 8 bits"
            )
        self.levels_SL = levels_SL
        self.numbers = len(levels_SL)

    def indices(self, codes_NS: Floats) -> NDArray[np.uint8]:
        """The nearest level of each number. Shapes: [N, S] to [N, S].

        Raises:
            DataError: for codes of another width.
        """
        codes_NS = as_float64("codes", codes_NS)
        if codes_NS.shape[1] != self.numbers:
            raise DataError(
                "codes",
                f"expected {self.numbers} numbers per text, got {codes_NS.shape[1]}",
                "Quantise codes of the codec that the levels were learned on",
            )
        # Between two levels the nearer one changes half way.
        edges_SL = (self.levels_SL[:, 1:] + self.levels_SL[:, :-1]) / 2
        indices_NS = np.empty(codes_NS.shape, dtype=np.uint8)
        for number, edges_L in enumerate(edges_SL):
            indices_NS[:, number] = np.searchsorted(edges_L, codes_NS[:, number])
        return indices_NS

    def values(self, indices_NS: NDArray[np.uint8]) -> Floats:
        """The levels of indices. Shapes: [N, S] to [N, S]."""
        result: Floats = np.take_along_axis(self.levels_SL.T, indices_NS.astype(np.intp), axis=0)
        return result


def uniform_quantiser(codes_NS: Floats, bits: int) -> Quantiser:
    """Evenly spaced levels from the smallest to the largest training code of each number.

    What lies outside gets the level at the end.

    Args:
        codes_NS: codes of training text.
        bits: of each number, 1 to 8.

    Shapes:
        codes_NS: [N, S].
    """
    low_S, high_S = codes_NS.min(axis=0), codes_NS.max(axis=0)
    return Quantiser(np.linspace(low_S, high_S, 2**bits, axis=1))


def lloyd_max_quantiser(codes_NS: Floats, bits: int) -> Quantiser:
    r"""Levels that minimise the squared error of each number's training codes.

    Lloyd's iteration: every level becomes the mean of the codes that are nearest to it,

    .. math:: l_k = E[x \mid (l_{k-1} + l_k) / 2 < x \le (l_k + l_{k+1}) / 2],

    from the quantiles on. A level without codes stays. Sources: Max, Quantizing for minimum
    distortion (1960); Lloyd, Least squares quantization in PCM (1982).

    Args:
        codes_NS: codes of training text.
        bits: of each number, 1 to 8.

    Shapes:
        codes_NS: [N, S].
    """
    levels = [_lloyd_levels(np.sort(column), 2**bits) for column in codes_NS.T]
    return Quantiser(np.stack(levels))


def _lloyd_levels(sorted_N: Floats, count: int) -> Floats:
    levels_L: Floats = np.quantile(sorted_N, (np.arange(count) + 0.5) / count)
    sums = np.concatenate([[0.0], np.cumsum(sorted_N)])
    for _ in range(_ROUNDS):
        inner = np.searchsorted(sorted_N, (levels_L[1:] + levels_L[:-1]) / 2, side="right")
        ends = np.concatenate([[0], inner, [len(sorted_N)]])
        held_L = np.diff(ends)
        means_L = np.diff(sums[ends]) / np.maximum(held_L, 1)
        moved_L = np.where(held_L > 0, means_L, levels_L)
        if np.array_equal(moved_L, levels_L):
            break
        levels_L = np.sort(moved_L)
    return levels_L
