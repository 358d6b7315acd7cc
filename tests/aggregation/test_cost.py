"""The choice between a sparse product and a convolution."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latticegraph.aggregation import Stencil
from latticegraph.aggregation.aggregation import resolve_backend, summed_stencils
from latticegraph.aggregation.cost import RATES, cheapest, expected_ms
from latticegraph.config import LatticeSettings, ModelSettings
from latticegraph.lattice import EdgeType, LatticeGraph
from latticegraph.lattice import graph as graph_module
from latticegraph.model import Lattice3D, build_student

ALONG = [(0, 0, 1), (0, 0, -1)]


def stencil(offsets: list[tuple[int, int, int]], side: int = 6, periodic: bool = False) -> Stencil:
    return Stencil(torch.tensor(offsets), (side, side, side), periodic)


def ball(radius: int, side: int) -> Stencil:
    span = torch.arange(-radius, radius + 1)
    offsets_O3 = torch.cartesian_prod(span, span, span)
    return Stencil(offsets_O3[(offsets_O3**2).sum(1) <= radius**2], (side,) * 3, False)


@pytest.fixture
def no_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building edges is an error."""

    def refuse(settings: LatticeSettings) -> None:
        raise AssertionError("edges were built")

    monkeypatch.setattr(graph_module, "build_by_offsets", refuse)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_expected_time_is_the_formula(device: str) -> None:
    """6 x 6 x 5 edges each way; 6 x 6 x 7 padded cells, as only one axis is reached along."""
    rates, own = RATES[device], [stencil(ALONG)]
    edges, points = 2 * 6 * 6 * 5, 6 * 6 * 7
    assert expected_ms("spmm", own, 4, 8, device) == pytest.approx(
        edges * 4 * (rates.edge * 8 + rates.row) / 1e6
    )
    assert expected_ms("fft", own, 4, 8, device) == pytest.approx(
        (points * 4 * 8 * rates.point + rates.start) / 1e6
    )
    for way in ("spmm", "fft"):
        twice = expected_ms(way, own * 2, 4, 8, device)
        assert twice == pytest.approx(2 * expected_ms(way, own, 4, 8, device))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_few_edges_are_multiplied_and_many_transformed(device: str) -> None:
    assert cheapest([stencil(ALONG)], 16, 64, device) == "spmm"
    assert cheapest([ball(5, 27)], 16, 8, device) == "fft"


@given(st.integers(1, 64), st.integers(1, 128), st.sampled_from(["cpu", "cuda"]))
def test_more_edges_never_turn_the_choice_back(channels: int, batch: int, device: str) -> None:
    """One box, offsets added between corners that stay: the convolution costs the same."""
    corners = [(3, 3, 3), (-3, -3, -3)]
    span = range(-3, 4)
    others = [(x, y, z) for x in span for y in span for z in span if (x, y, z) not in corners]
    times, choices = [], []
    for count in (0, 5, 20, 60, 120, 200, len(others)):
        own = [stencil(corners + others[:count], side=12)]
        times.append(expected_ms("spmm", own, channels, batch, device))
        choices.append(cheapest(own, channels, batch, device))
        assert expected_ms("fft", own, channels, batch, device) == pytest.approx(
            expected_ms("fft", [stencil(corners, side=12)], channels, batch, device)
        )
    assert times == sorted(set(times))
    assert choices == sorted(choices, reverse=True)  # spmm first


@pytest.mark.usefixtures("no_edges")
def test_27_cube_is_transformed_without_building_edges() -> None:
    graph = LatticeGraph.build(LatticeSettings(dimensions=(27, 27, 27)))
    settings = ModelSettings.model_validate(
        {"dynamics": {"steps": 6, "min_steps": 6}, "aggregation": "auto"}
    )
    for device in ("cpu", "cuda"):
        own = summed_stencils(graph, [(kind,) for kind in EdgeType])
        assert cheapest(own, 16, 8, device) == "fft"
    backend = resolve_backend(settings, graph, 8, "cpu")
    assert backend == "fft"
    lattice = Lattice3D(settings, graph, backend)
    assert not lattice.layout.samples_inner
    assert graph._edges is None


def test_default_cube_is_multiplied() -> None:
    graph = LatticeGraph.build(LatticeSettings())
    assert resolve_backend(ModelSettings(), graph, 64, "cpu") == "spmm"
    assert build_student(ModelSettings(), graph, 16).dynamics.backend == "spmm"


@pytest.mark.parametrize("way", ["spmm", "fft", "scatter"])
def test_explicit_aggregation_is_taken_as_it_is(way: str) -> None:
    graph = LatticeGraph.build(LatticeSettings(dimensions=(3, 3, 3), adaptive_radius_min=1.6))
    settings = ModelSettings.model_validate({"aggregation": way})
    assert resolve_backend(settings, graph, 64, "cpu") == way
    assert build_student(settings, graph, 16).dynamics.backend == way


def test_choice_follows_batch_and_device_given(monkeypatch: pytest.MonkeyPatch) -> None:
    from latticegraph.aggregation import aggregation

    seen: list[tuple[int, int, str]] = []

    def chosen(stencils: list[Stencil], channels: int, batch: int, device: str) -> str:
        seen.append((channels, batch, device))
        return "fft"

    monkeypatch.setattr(aggregation, "cheapest", chosen)
    graph = LatticeGraph.build(LatticeSettings(dimensions=(3, 3, 3), adaptive_radius_min=1.6))
    assert resolve_backend(ModelSettings(), graph, 7, "cuda") == "fft"
    assert seen == [(16, 7, "cuda")]
