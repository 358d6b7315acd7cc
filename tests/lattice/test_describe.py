from __future__ import annotations

import json
import time
import tracemalloc

import pytest

from latticegraph.config import LatticeSettings
from latticegraph.lattice import LatticeGraph, describe_lattice


def test_describe_eight_cube_by_hand() -> None:
    summary = describe_lattice(LatticeSettings())
    edges = 512 + 2_688 + 4_704
    assert summary["cells"] == 512
    assert summary["max_radius"] == 1.6
    assert summary["thresholds"] == {"local": 0.16, "functional": 1.04, "distant": 1.6}
    assert summary["edges"] == {"self": 512, "local": 0, "functional": 2_688, "distant": 4_704}
    assert summary["degrees"]["functional"]["max"] == 6
    assert summary["reach"] == {"local": 0, "functional": 1, "distant": 1, "all": 1}
    assert summary["crossing_steps"] == 7
    assert summary["memory"]["csr_gb"] == pytest.approx((12 * edges + 3 * 513 * 8) / 1e9)


def test_describe_memory_equals_bytes_of_the_tensors() -> None:
    graph = LatticeGraph.build(LatticeSettings())
    memory = graph.describe()["memory"]
    stored = graph.edge_index_2E.nbytes + graph.edge_offset_E.nbytes
    derived = graph.edge_type_E.nbytes + graph.edge_attr_E4.nbytes
    assert memory["edges_gb"] * 1e9 == pytest.approx(stored)
    assert memory["attributes_gb"] * 1e9 == pytest.approx(derived)


def test_describe_state_memory_grows_with_channels_and_batch() -> None:
    memory = describe_lattice(LatticeSettings(), channels=16, batch=64)["memory"]
    assert memory["state_gb"] == pytest.approx(512 * 16 * 64 * 4 / 1e9)


def test_describe_fifty_cube_without_building_edges() -> None:
    started = time.perf_counter()
    summary = describe_lattice(LatticeSettings(dimensions=(50, 50, 50)))
    assert time.perf_counter() - started < 1
    assert summary["edges"]["distant"] == 284_190_752
    assert summary["reach"]["all"] == 10
    assert any("9.9 GB" in warning for warning in summary["warnings"])
    assert not any("only self-edges" in warning for warning in summary["warnings"])


def test_describe_is_json() -> None:
    summary = describe_lattice(LatticeSettings(dimensions=(4, 4, 5), boundary="periodic"))
    assert json.loads(json.dumps(summary)) == summary


def test_describe_warns_of_lonely_local_expert_and_nothing_else() -> None:
    warnings = describe_lattice(LatticeSettings(), steps=7)["warnings"]
    assert len(warnings) == 1
    assert "only self-edges" in warnings[0]
    assert "0.16" in warnings[0]


def test_describe_warns_of_too_few_steps() -> None:
    warnings = describe_lattice(LatticeSettings(), steps=6)["warnings"]
    assert any("model.dynamics.steps: expected at least 7, got 6" in w for w in warnings)


def test_describe_warns_of_empty_type_instead_of_raising() -> None:
    summary = describe_lattice(LatticeSettings(dimensions=(3, 3, 3)), steps=1)
    assert any("lattice.functional_distance_ratio" in w for w in summary["warnings"])


def test_describe_without_any_edge_has_no_crossing() -> None:
    settings = LatticeSettings(adaptive_radius_min=0.1, adaptive_radius_max=0.5)
    assert describe_lattice(settings)["crossing_steps"] is None


def test_describe_warns_that_wrapping_shortcuts_the_depth() -> None:
    warnings = describe_lattice(LatticeSettings(boundary="periodic"))["warnings"]
    assert any("crosses in 1 step(s) instead of 7" in warning for warning in warnings)
    volume = describe_lattice(LatticeSettings(boundary="periodic", surface="volume"))["warnings"]
    assert not any("instead of" in warning for warning in volume)


@pytest.mark.parametrize("boundary", ["open", "periodic"])
def test_describe_counts_in_closed_form(boundary: str) -> None:
    """A thousand million cells; the arrays of their coordinates alone would take 24 GB."""
    sides = {"dimensions": (1000, 1000, 1000), "adaptive_radius_max": 3.0, "boundary": boundary}
    settings = LatticeSettings.model_validate(sides)
    tracemalloc.start()
    description = describe_lattice(settings, steps=8)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    assert description["cells"] == 10**9
    six = 6 * 10**9 if boundary == "periodic" else 6 * 999 * 10**6
    assert description["edges"]["functional"] >= six
    degree = description["degrees"]["functional"]
    assert degree["mean"] == description["edges"]["functional"] / 10**9
    # Within 1.95 cells lie the 26 that touch a cell, 7 of them where it is a corner.
    assert (degree["min"], degree["max"]) == ((26, 26) if boundary == "periodic" else (7, 26))
    assert description["crossing_steps"] == (1 if boundary == "periodic" else 333)


def test_graph_makes_no_cells_until_they_are_asked_for() -> None:
    sides = {"dimensions": (1000, 1000, 1000), "adaptive_radius_max": 2.0}
    graph = LatticeGraph.build(LatticeSettings.model_validate(sides))
    assert graph.num_cells == 10**9
    assert not {"coordinates_N3", "number_N", "_numbering", "_surfaces"} & vars(graph).keys()
