from __future__ import annotations

import time

import numpy as np
import pytest

from latticegraph.config import LatticeSettings
from latticegraph.lattice import EdgeType, build_by_offsets, count_degrees, count_edges
from latticegraph.lattice.offsets import lattice_offsets

TABLE = [
    ((8, 8, 8), 1.6, 512, 0, 2_688, 4_704),
    ((8, 8, 12), 2.4, 768, 0, 11_376, 20_632),
    ((15, 15, 15), 3.0, 3_375, 0, 76_132, 247_626),
    ((27, 27, 27), 5.4, 19_683, 0, 3_025_710, 7_685_502),
    ((37, 37, 37), 7.4, 50_653, 0, 20_078_056, 49_618_058),
    ((50, 50, 50), 10.0, 125_000, 735_000, 126_965_592, 284_190_752),
]
SMALL = [
    {"dimensions": (4, 4, 5), "adaptive_radius_ratio": 0.5},
    {"dimensions": (2, 3, 6), "adaptive_radius_ratio": 1.0},
    {"dimensions": (5, 2, 4), "adaptive_radius_ratio": 0.9, "local_distance_ratio": 0.3},
    {"dimensions": (4, 3, 5), "adaptive_radius_ratio": 0.6, "boundary": "periodic"},
]


@pytest.mark.parametrize(("dimensions", "radius", "own", "local", "functional", "distant"), TABLE)
def test_counts_reproduce_the_table(
    dimensions: tuple[int, int, int],
    radius: float,
    own: int,
    local: int,
    functional: int,
    distant: int,
) -> None:
    settings = LatticeSettings(dimensions=dimensions)
    started = time.perf_counter()
    counts = count_edges(settings)
    assert time.perf_counter() - started < 1
    assert settings.max_radius == radius
    assert counts == {"self": own, "local": local, "functional": functional, "distant": distant}


@pytest.mark.parametrize("keys", SMALL)
def test_counts_and_degrees_equal_those_of_built_edges(keys: dict[str, object]) -> None:
    settings = LatticeSettings.model_validate(keys)
    offsets = lattice_offsets(settings)
    edges = build_by_offsets(settings)
    type_E = offsets.type_O[edges.edge_offset_E.numpy()]
    source_E, target_E = edges.edge_index_2E.numpy()
    own_E = source_E == target_E
    counts, degrees = count_edges(settings), count_degrees(settings)
    assert counts["self"] == own_E.sum()
    for edge_type in EdgeType:
        chosen_E = (type_E == edge_type) & ~own_E
        degree_N = np.bincount(target_E[chosen_E], minlength=counts["self"])
        assert counts[edge_type.label] == chosen_E.sum()
        assert degrees[edge_type.label] == {
            "min": degree_N.min(),
            "mean": pytest.approx(degree_N.mean()),
            "max": degree_N.max(),
        }


def test_counts_degree_of_corner_edge_and_centre() -> None:
    degrees = count_degrees(LatticeSettings(dimensions=(8, 8, 8)))
    assert degrees["functional"] == {"min": 3, "mean": 5.25, "max": 6}
    assert degrees["distant"]["min"] == 3
    assert degrees["distant"]["max"] == 12


def test_counts_periodic_degree_same_for_every_cell() -> None:
    settings = LatticeSettings(dimensions=(8, 8, 8), boundary="periodic")
    assert count_degrees(settings)["distant"] == {"min": 12, "mean": 12.0, "max": 12}
    assert count_edges(settings)["functional"] == 6 * 512


def test_counts_periodic_neighbour_reached_by_two_wraps_counts_once() -> None:
    settings = LatticeSettings(dimensions=(2, 2, 2), boundary="periodic", adaptive_radius_min=1.6)
    assert count_edges(settings) == {"self": 8, "local": 0, "functional": 24, "distant": 24}
