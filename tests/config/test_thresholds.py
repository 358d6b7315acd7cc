"""Radii: the rule of the adaptive radius, in exact fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticegraph.config import LatticeSettings


@pytest.mark.parametrize(
    ("dimensions", "radius"),
    [
        ((8, 8, 12), Fraction(12, 5)),
        ((12, 8, 8), Fraction(12, 5)),
        ((15, 15, 15), Fraction(3)),
        ((50, 50, 50), Fraction(10)),
        ((8, 8, 8), Fraction(8, 5)),
        ((3, 4, 5), Fraction(1)),  # exactly the lower clamp
        ((2, 2, 2), Fraction(1)),  # below it
    ],
)
def test_thresholds_follow_the_longest_side(
    dimensions: tuple[int, int, int], radius: Fraction
) -> None:
    lattice = LatticeSettings(dimensions=dimensions)
    wanted = (radius / 10, radius * 65 / 100, radius)
    assert lattice.exact_max_radius == radius
    assert lattice.exact_thresholds == wanted
    assert lattice.get_distance_thresholds() == {
        "max_radius": float(radius),
        "local": float(wanted[0]),
        "functional": float(wanted[1]),
        "distant": float(wanted[2]),
    }


def test_thresholds_of_the_documented_sizes_as_numbers() -> None:
    radii = [
        LatticeSettings(dimensions=d).get_distance_thresholds()["max_radius"]
        for d in ((8, 8, 12), (15, 15, 15), (50, 50, 50))
    ]
    assert radii == [2.4, 3.0, 10.0]


def test_thresholds_upper_clamp_holds() -> None:
    lattice = LatticeSettings(dimensions=(50, 50, 50), adaptive_radius_max=4.5)
    assert lattice.exact_thresholds == (Fraction(9, 20), Fraction(117, 40), Fraction(9, 2))


def test_thresholds_are_properties_too() -> None:
    lattice = LatticeSettings(dimensions=(15, 15, 15))
    assert lattice.max_radius == 3.0
    assert lattice.local_distance_threshold == 0.3
    assert lattice.functional_distance_threshold == 1.95
    assert lattice.distant_distance_threshold == 3.0


@settings(deadline=None, max_examples=50, derandomize=True)
@given(
    side=st.integers(2, 60),
    percent=st.tuples(*[st.integers(1, 100)] * 4).filter(lambda p: p[1] < p[2] < p[3]),
)
def test_thresholds_of_decimals_have_no_rounding(
    side: int, percent: tuple[int, int, int, int]
) -> None:
    lattice = LatticeSettings(
        dimensions=(2, side, 2),
        adaptive_radius_ratio=percent[0] / 100,
        local_distance_ratio=percent[1] / 100,
        functional_distance_ratio=percent[2] / 100,
        distant_distance_ratio=percent[3] / 100,
    )
    radius = min(max(Fraction(side * percent[0], 100), Fraction(1)), Fraction(50))
    assert lattice.exact_thresholds == tuple(radius * Fraction(p, 100) for p in percent[1:])
