from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import latticegraph.lattice.offset_builder as offset_builder
from latticegraph.config import LatticeSettings
from latticegraph.lattice import EdgeType, build_by_offsets, lattice_offsets, number_cells

Reference = Callable[..., Any]
sides = st.integers(2, 6)


@st.composite
def lattices(draw: st.DrawFn) -> LatticeSettings:
    local = draw(st.integers(0, 60))
    functional = draw(st.integers(local + 1, 99))
    return LatticeSettings(
        dimensions=draw(st.tuples(sides, sides, sides)),
        adaptive_radius_ratio=draw(st.integers(1, 100)) / 100,
        local_distance_ratio=local / 100,
        functional_distance_ratio=functional / 100,
        self_edges=draw(st.booleans()),
        boundary=draw(st.sampled_from(["open", "periodic"])),
        numbering=draw(st.sampled_from(["row_major", "morton"])),
    )


@given(settings=lattices())
@hypothesis_settings(deadline=None, max_examples=25, derandomize=True)
def test_offset_builder_equals_double_loop(
    brute_force: Reference, in_coordinates: Reference, settings: LatticeSettings
) -> None:
    edges = build_by_offsets(settings)
    assert in_coordinates(settings, edges) == brute_force(settings)


@given(settings=lattices())
@hypothesis_settings(deadline=None, max_examples=25, derandomize=True)
def test_offset_builder_edges_sorted_and_symmetric(settings: LatticeSettings) -> None:
    edges = build_by_offsets(settings)
    cells = len(number_cells(settings).number_N)
    source_E, target_E = edges.edge_index_2E
    key_E = target_E * cells + source_E
    assert (key_E.diff() > 0).all()
    type_E = torch.from_numpy(lattice_offsets(settings).type_O)[edges.edge_offset_E]
    forward = torch.stack([key_E, type_E])
    backward = torch.stack([source_E * cells + target_E, type_E])
    assert torch.equal(forward, backward[:, backward[0].argsort()])


@given(settings=lattices())
@hypothesis_settings(deadline=None, max_examples=25, derandomize=True)
def test_offset_builder_offset_leads_from_target_to_source(settings: LatticeSettings) -> None:
    edges = build_by_offsets(settings)
    coordinates_N3 = torch.from_numpy(number_cells(settings).coordinates_N3)
    offset_O3 = torch.from_numpy(lattice_offsets(settings).offset_O3)
    source_E3 = coordinates_N3[edges.edge_index_2E[1]] + offset_O3[edges.edge_offset_E]
    if settings.boundary == "periodic":
        source_E3 = source_E3 % torch.tensor(settings.dimensions)
    assert torch.equal(source_E3, coordinates_N3[edges.edge_index_2E[0]])


@given(settings=lattices())
@hypothesis_settings(deadline=None, max_examples=15, derandomize=True)
def test_offset_builder_morton_numbering_only_relabels(
    in_coordinates: Reference, settings: LatticeSettings
) -> None:
    plain = settings.model_copy(update={"numbering": "row_major"})
    morton = settings.model_copy(update={"numbering": "morton"})
    assert in_coordinates(plain, build_by_offsets(plain)) == in_coordinates(
        morton, build_by_offsets(morton)
    )


def test_offset_builder_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = LatticeSettings(dimensions=(4, 5, 6), adaptive_radius_ratio=0.5)
    whole = build_by_offsets(settings)
    monkeypatch.setattr(offset_builder, "_CHUNK_PAIRS", 100)
    chunked = build_by_offsets(settings)
    assert whole.edge_index_2E.shape[1] > 1000
    assert torch.equal(whole.edge_index_2E, chunked.edge_index_2E)
    assert torch.equal(whole.edge_offset_E, chunked.edge_offset_E)


def test_offset_builder_no_offset_gives_no_edge() -> None:
    settings = LatticeSettings(adaptive_radius_min=0.1, adaptive_radius_max=0.5, self_edges=False)
    edges = build_by_offsets(settings)
    assert edges.edge_index_2E.shape == (2, 0)
    assert edges.edge_offset_E.shape == (0,)


CUBES = [
    ((8, 8, 8), [512, 2_688, 4_704]),
    ((8, 8, 12), [768, 11_376, 20_632]),
    ((15, 15, 15), [3_375, 76_132, 247_626]),
    pytest.param((27, 27, 27), [19_683, 3_025_710, 7_685_502], marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("dimensions", "counts"), CUBES)
def test_offset_builder_builds_the_counted_edges(
    dimensions: tuple[int, int, int], counts: list[int]
) -> None:
    settings = LatticeSettings(dimensions=dimensions)
    edges = build_by_offsets(settings)
    type_E = torch.from_numpy(lattice_offsets(settings).type_O)[edges.edge_offset_E]
    assert torch.bincount(type_E, minlength=len(EdgeType)).tolist() == counts
    assert (edges.edge_index_2E[0] == edges.edge_index_2E[1]).sum() == counts[0]
