from __future__ import annotations

import numpy as np
import pytest

from latticegraph.config import LatticeSettings
from latticegraph.lattice import EdgeType, Offsets, lattice_offsets
from latticegraph.lattice.offsets import squared_limits


def _types(offsets: Offsets) -> dict[tuple[int, ...], int]:
    rows = map(tuple, offsets.offset_O3.tolist())
    return dict(zip(rows, offsets.type_O.tolist(), strict=True))


def test_offsets_distance_equal_to_distant_radius_included() -> None:
    types = _types(lattice_offsets(LatticeSettings(dimensions=(15, 15, 15))))
    assert types[(3, 0, 0)] == types[(2, 2, 1)] == types[(-1, 2, -2)] == EdgeType.DISTANT
    assert (3, 1, 0) not in types


def test_offsets_distance_equal_to_local_radius_is_local() -> None:
    types = _types(lattice_offsets(LatticeSettings(dimensions=(50, 2, 2))))
    assert types[(1, 0, 0)] == types[(0, -1, 0)] == types[(0, 0, 0)] == EdgeType.LOCAL
    assert types[(1, 1, 0)] == EdgeType.FUNCTIONAL
    assert types[(10, 0, 0)] == EdgeType.DISTANT


def test_offsets_one_cell_below_fifty_is_not_local() -> None:
    types = _types(lattice_offsets(LatticeSettings(dimensions=(49, 2, 2))))
    assert types[(1, 0, 0)] == EdgeType.FUNCTIONAL


def test_offsets_bound_does_not_depend_on_float_rounding() -> None:
    assert 100 * 0.29 < 29
    settings = LatticeSettings(dimensions=(100, 2, 2), adaptive_radius_ratio=0.29)
    assert squared_limits(settings)[2] == 29**2
    assert _types(lattice_offsets(settings))[(29, 0, 0)] == EdgeType.DISTANT


def test_offsets_radius_clamped() -> None:
    low = LatticeSettings(dimensions=(3, 3, 3), adaptive_radius_min=1.5)
    high = LatticeSettings(dimensions=(40, 3, 3), adaptive_radius_max=2.0)
    assert squared_limits(low)[2] == 2
    assert squared_limits(high)[2] == 4


def test_offsets_without_self_edges_leave_zero_out() -> None:
    kept = lattice_offsets(LatticeSettings(dimensions=(4, 4, 5)))
    left = lattice_offsets(LatticeSettings(dimensions=(4, 4, 5), self_edges=False))
    assert kept.is_self_O.sum() == 1
    assert left.is_self_O.sum() == 0
    assert set(_types(kept)) - set(_types(left)) == {(0, 0, 0)}


def test_offsets_never_longer_than_the_lattice() -> None:
    settings = LatticeSettings(dimensions=(2, 3, 9), adaptive_radius_ratio=1.0)
    largest = np.abs(lattice_offsets(settings).offset_O3).max(axis=0)
    assert largest.tolist() == [1, 2, 8]


def test_offsets_periodic_one_per_residue() -> None:
    settings = LatticeSettings(dimensions=(4, 5, 2), adaptive_radius_ratio=1.0, boundary="periodic")
    offset_O3 = lattice_offsets(settings).offset_O3
    assert sorted(set(offset_O3[:, 0].tolist())) == [-1, 0, 1, 2]
    assert sorted(set(offset_O3[:, 1].tolist())) == [-2, -1, 0, 1, 2]
    assert sorted(set(offset_O3[:, 2].tolist())) == [0, 1]
    residues = {tuple(row) for row in (offset_O3 % [4, 5, 2]).tolist()}
    assert len(residues) == len(offset_O3) == 40


def test_offsets_attributes_closed_form() -> None:
    settings = LatticeSettings(dimensions=(15, 15, 15))
    offsets = lattice_offsets(settings)
    attributes = {
        tuple(o): a for o, a in zip(offsets.offset_O3.tolist(), offsets.attr_O4, strict=True)
    }
    assert attributes[(0, 0, 0)].tolist() == [0, 0, 0, 0]
    assert attributes[(0, -3, 0)].tolist() == [1, 0, -1, 0]
    assert attributes[(2, -2, 1)] == pytest.approx([1, 2 / 3, -2 / 3, 1 / 3])
    assert attributes[(1, 1, 0)] == pytest.approx([2**0.5 / 3, 0.5**0.5, 0.5**0.5, 0])
    assert offsets.attr_O4.dtype == np.float32


def test_offsets_of_type_partition_all_but_self() -> None:
    offsets = lattice_offsets(LatticeSettings(dimensions=(50, 4, 4)))
    parts = [offsets.of_type(edge_type) for edge_type in EdgeType]
    assert [len(part) > 0 for part in parts] == [True, True, True]
    assert sum(map(len, parts)) == len(offsets.offset_O3) - 1
    assert (parts[0] ** 2).sum(axis=1).tolist() == [1] * 6
