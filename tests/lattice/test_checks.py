from __future__ import annotations

import re

import pytest

from latticegraph.config import LatticeSettings, ModelSettings
from latticegraph.config.model import DynamicsSettings
from latticegraph.errors import ConfigError, GraphError
from latticegraph.lattice import LatticeGraph, check_reach, check_stopping, check_types
from latticegraph.model import build_student


def test_check_reach_names_value_and_needed_number() -> None:
    with pytest.raises(
        GraphError,
        match=r"model\.dynamics\.steps: expected at least 7, got 6: .* 1 cell\(s\) deep .* 7 cells "
        r"behind .*Set model\.dynamics\.steps to 7 or more",
    ):
        check_reach(LatticeSettings(), 6)


def test_check_reach_accepts_exactly_the_needed_steps() -> None:
    check_reach(LatticeSettings(), 7)
    check_reach(LatticeSettings(dimensions=(15, 15, 15)), 5)


@pytest.mark.parametrize("surface", ["all_faces", "volume"])
def test_check_reach_asks_other_surfaces_for_nothing(surface: str) -> None:
    check_reach(LatticeSettings.model_validate({"surface": surface}), 1)


def test_check_reach_finds_empty_type_too() -> None:
    with pytest.raises(GraphError, match=r"lattice\.functional_distance_ratio"):
        check_reach(LatticeSettings(dimensions=(3, 3, 3)), 10)


def stopping(min_steps: int, tolerance: float = 0.05) -> DynamicsSettings:
    return DynamicsSettings(steps=9, min_steps=min_steps, tolerance=tolerance)


def test_check_stopping_names_both_keys_both_values_and_the_needed_number() -> None:
    with pytest.raises(
        ConfigError,
        match=r"^model\.dynamics\.min_steps: expected at least 7 with model\.dynamics\.tolerance "
        r"above 0, got 6 with tolerance 0\.05: the input needs 7 steps .*\. Set "
        r"model\.dynamics\.min_steps to 7 or more, or model\.dynamics\.tolerance to 0\.$",
    ):
        check_stopping(LatticeSettings(), stopping(6))


def test_check_stopping_accepts_what_lets_the_input_arrive() -> None:
    check_stopping(LatticeSettings(), stopping(7))
    check_stopping(LatticeSettings(), stopping(1, tolerance=0.0))
    check_stopping(LatticeSettings(boundary="periodic"), stopping(1))
    check_stopping(LatticeSettings(surface="all_faces"), stopping(1))


@pytest.mark.parametrize("mode", ["lattice", "identity", "wire"])
def test_student_that_stops_before_its_input_arrives_is_refused(mode: str) -> None:
    dynamics = {"steps": 9, "min_steps": 6, "tolerance": 0.05, "mode": mode}
    settings = ModelSettings.model_validate({"dynamics": dynamics})
    graph = LatticeGraph.build(LatticeSettings())
    if mode != "lattice":  # nothing stops where no step is taken
        build_student(settings, graph, 8)
        return
    with pytest.raises(ConfigError, match=r"^model\.dynamics\.min_steps: expected at least 7"):
        build_student(settings, graph, 8)


def test_check_types_empty_functional_names_a_radius_that_works() -> None:
    settings = LatticeSettings(dimensions=(3, 3, 3))
    with pytest.raises(
        GraphError,
        match=r"lattice\.functional_distance_ratio: expected at least one functional edge, got "
        r"none: no two cells are more than 0\.1 and at most 0\.65 cells apart\. Set "
        r"lattice\.adaptive_radius_min to 1\.54\.",
    ):
        check_types(settings)
    check_types(settings.model_copy(update={"adaptive_radius_min": 1.54}))


def test_check_types_empty_distant_in_a_wrapped_cube_advises_a_smaller_radius() -> None:
    settings = LatticeSettings(dimensions=(3, 3, 3), adaptive_radius_ratio=1.0, boundary="periodic")
    with pytest.raises(
        GraphError,
        match=r"lattice\.distant_distance_ratio: expected at least one distant edge.*"
        r"Set lattice\.adaptive_radius_max to",
    ) as caught:
        check_types(settings)
    value = re.search(r"to ([\d.]+)\.$", str(caught.value))
    assert value is not None
    check_types(settings.model_copy(update={"adaptive_radius_max": float(value[1])}))


def test_check_types_no_radius_helps_says_so() -> None:
    settings = LatticeSettings(local_distance_ratio=0.649999)
    with pytest.raises(GraphError, match=r"_distance_ratio further apart"):
        check_types(settings)


def test_check_types_local_without_self_edges_names_the_switch() -> None:
    with pytest.raises(
        GraphError,
        match=r"lattice\.self_edges: expected at least one local edge, got none: the local radius "
        r"0\.16 .*Set lattice\.self_edges to true",
    ):
        check_types(LatticeSettings(self_edges=False))


def test_check_types_local_edges_suffice_without_self_edges() -> None:
    check_types(LatticeSettings(dimensions=(50, 4, 4), self_edges=False))


def test_graph_build_refuses_empty_type() -> None:
    with pytest.raises(GraphError, match=r"lattice\.functional_distance_ratio"):
        LatticeGraph.build(LatticeSettings(dimensions=(3, 3, 3)))


@pytest.mark.parametrize("ratio", [5e-324, 1e-200])
def test_ratios_near_zero_are_refused_like_others(ratio: float) -> None:
    ratios = {"local_distance_ratio": 0.0, "functional_distance_ratio": ratio}
    settings = LatticeSettings.model_validate({"dimensions": (2, 2, 2), **ratios})
    with pytest.raises(GraphError, match="expected at least one functional edge, got none"):
        check_types(settings)
