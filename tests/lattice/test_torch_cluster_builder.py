from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from latticegraph.config import LatticeSettings
from latticegraph.errors import GraphError
from latticegraph.lattice import LatticeGraph, build_by_offsets, build_by_torch_cluster

LATTICES: list[dict[str, Any]] = [
    {"dimensions": (8, 8, 8)},
    {"dimensions": (4, 4, 5), "adaptive_radius_ratio": 0.6},
    {"dimensions": (2, 3, 6), "adaptive_radius_ratio": 1.0, "numbering": "morton"},
    {"dimensions": (6, 5, 4), "adaptive_radius_ratio": 0.5, "self_edges": False},
    {"dimensions": (5, 5, 5), "adaptive_radius_ratio": 0.8, "local_distance_ratio": 0.25},
    {"dimensions": (3, 4, 2), "adaptive_radius_min": 0.1, "adaptive_radius_max": 0.5},
    {
        "dimensions": (3, 3, 2),
        "adaptive_radius_min": 0.1,
        "adaptive_radius_max": 0.5,
        "self_edges": False,
    },
]


def _assert_same_edges(settings: LatticeSettings) -> None:
    reference, edges = build_by_offsets(settings), build_by_torch_cluster(settings)
    assert torch.equal(edges.edge_index_2E, reference.edge_index_2E)
    assert torch.equal(edges.edge_offset_E, reference.edge_offset_E)


@pytest.mark.usefixtures("imitation_torch_cluster")
@pytest.mark.parametrize("keys", LATTICES)
def test_torch_cluster_builder_handles_the_traps(keys: dict[str, Any]) -> None:
    _assert_same_edges(LatticeSettings.model_validate(keys))


@pytest.mark.parametrize("keys", LATTICES)
def test_torch_cluster_builder_agrees_edge_for_edge(
    keys: dict[str, Any], brute_force: Callable[..., Any], in_coordinates: Callable[..., Any]
) -> None:
    pytest.importorskip("torch_cluster")
    settings = LatticeSettings.model_validate(keys)
    _assert_same_edges(settings)
    assert in_coordinates(settings, build_by_torch_cluster(settings)) == brute_force(settings)


@pytest.mark.parametrize("dimensions", [(8, 8, 12), (15, 15, 15)])
def test_torch_cluster_builder_agrees_on_the_named_cubes(
    dimensions: tuple[int, int, int],
) -> None:
    pytest.importorskip("torch_cluster")
    _assert_same_edges(LatticeSettings(dimensions=dimensions))


@pytest.mark.slow
def test_torch_cluster_builder_agrees_on_27_cube() -> None:
    pytest.importorskip("torch_cluster")
    _assert_same_edges(LatticeSettings(dimensions=(27, 27, 27)))


def test_torch_cluster_loses_edges_when_asked_plainly() -> None:
    torch_cluster = pytest.importorskip("torch_cluster")
    cells = torch.cartesian_prod(*[torch.arange(15.0)] * 3)
    plain = torch_cluster.radius_graph(cells, r=3.0, loop=True, max_num_neighbors=1000)
    assert plain.shape[1] == 254_149
    built = build_by_torch_cluster(LatticeSettings(dimensions=(15, 15, 15)))
    assert built.edge_index_2E.shape[1] == 327_133


@pytest.mark.usefixtures("imitation_torch_cluster")
def test_torch_cluster_builder_used_by_graph_build() -> None:
    settings = LatticeSettings(builder="torch_cluster")
    graph = LatticeGraph.build(settings)
    assert graph.edge_index_2E.shape[1] == 512 + 2_688 + 4_704


def test_torch_cluster_builder_missing_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch_cluster", None)
    with pytest.raises(GraphError, match=r"lattice\.builder: .*Install latticegraph\[pyg-ext\]"):
        build_by_torch_cluster(LatticeSettings())


def test_torch_cluster_builder_refuses_periodic_boundary() -> None:
    with pytest.raises(
        GraphError, match=r"lattice\.boundary: expected 'open'.*got 'periodic'.*lattice\.builder"
    ):
        build_by_torch_cluster(LatticeSettings(boundary="periodic"))
