from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from latticegraph.config import LatticeSettings
from latticegraph.lattice import number_cells
from latticegraph.lattice.morton import morton_codes
from latticegraph.lattice.numbering import row_major_coordinates

sides = st.integers(2, 9)


def _code_by_hand(coordinate: tuple[int, ...]) -> int:
    bits = [f"{value:021b}" for value in coordinate]
    return int("".join(a + b + c for a, b, c in zip(*bits, strict=True)), 2)


def test_morton_order_of_two_cube_is_row_major() -> None:
    assert morton_codes(row_major_coordinates((2, 2, 2))).tolist() == list(range(8))


@given(coordinates=st.lists(st.tuples(*[st.integers(0, 2**20 - 1)] * 3), min_size=1, max_size=8))
@hypothesis_settings(deadline=None, max_examples=30, derandomize=True)
def test_morton_codes_interleave_bits(coordinates: list[tuple[int, ...]]) -> None:
    codes = morton_codes(np.asarray(coordinates, dtype=np.int64))
    assert codes.tolist() == [_code_by_hand(coordinate) for coordinate in coordinates]


@given(dimensions=st.tuples(sides, sides, sides))
@hypothesis_settings(deadline=None, max_examples=25, derandomize=True)
def test_morton_numbering_is_a_bijection(dimensions: tuple[int, int, int]) -> None:
    numbering = number_cells(LatticeSettings(dimensions=dimensions, numbering="morton"))
    cells = row_major_coordinates(dimensions)
    assert sorted(numbering.number_N.tolist()) == list(range(len(cells)))
    assert np.array_equal(numbering.coordinates_N3[numbering.number_N], cells)
    assert (np.diff(morton_codes(numbering.coordinates_N3)) > 0).all()


def test_morton_numbering_keeps_blocks_together() -> None:
    numbering = number_cells(LatticeSettings(dimensions=(4, 4, 4), numbering="morton"))
    first_block = {tuple(row) for row in numbering.coordinates_N3[:8].tolist()}
    assert first_block == {(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)}


def test_row_major_numbering_counts_last_axis_first() -> None:
    numbering = number_cells(LatticeSettings(dimensions=(3, 4, 5)))
    assert numbering.coordinates_N3[1 * 20 + 2 * 5 + 3].tolist() == [1, 2, 3]
    assert np.array_equal(numbering.number_N, np.arange(60))


def test_morton_codes_refuse_coordinates_that_do_not_fit() -> None:
    with pytest.raises(AssertionError, match="63 bits"):
        morton_codes(np.array([[2**20, 0, 0]]))
