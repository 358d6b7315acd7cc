"""Slow, obvious references that the lattice is compared with."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from latticegraph.config import LatticeSettings
from latticegraph.lattice import EdgeList, lattice_offsets, number_cells

TypedEdges = set[tuple[tuple[int, ...], tuple[int, ...], int]]


def _brute_force(settings: LatticeSettings) -> TypedEdges:
    """(source, target, type) of every edge, in coordinates, from a double loop over cells."""
    cells = list(itertools.product(*(range(size) for size in settings.dimensions)))
    thresholds = settings.exact_thresholds
    edges: TypedEdges = set()
    for target, source in itertools.product(cells, cells):
        gaps = [abs(a - b) for a, b in zip(source, target, strict=True)]
        if settings.boundary == "periodic":
            gaps = [min(g, n - g) for g, n in zip(gaps, settings.dimensions, strict=True)]
        squared = sum(gap**2 for gap in gaps)
        if squared == 0 and not settings.self_edges:
            continue
        for edge_type, threshold in enumerate(thresholds):
            if squared * threshold.denominator**2 <= threshold.numerator**2:
                edges.add((source, target, edge_type))
                break
    return edges


def _in_coordinates(settings: LatticeSettings, edges: EdgeList) -> TypedEdges:
    """(source, target, type) of every edge in coordinates; an edge listed twice fails."""
    coordinates = [tuple(row) for row in number_cells(settings).coordinates_N3.tolist()]
    types = lattice_offsets(settings).type_O[edges.edge_offset_E.numpy()].tolist()
    sources, targets = edges.edge_index_2E.tolist()
    triples = [
        (coordinates[s], coordinates[t], kind)
        for s, t, kind in zip(sources, targets, types, strict=True)
    ]
    assert len(set(triples)) == len(triples)
    return set(triples)


def _radius_graph(
    x: torch.Tensor,
    r: float,
    batch: torch.Tensor | None = None,
    loop: bool = False,
    max_num_neighbors: int = 32,
) -> torch.Tensor:
    """What torch_cluster.radius_graph returns, with its habits: d < r, a cap, unsorted edges."""
    near = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") < r
    near &= near.cumsum(dim=1) <= max_num_neighbors + (0 if loop else 1)
    if not loop:
        near.fill_diagonal_(False)
    target, source = near.nonzero().flip(0).T
    return torch.stack([source, target])


@pytest.fixture(scope="session")
def brute_force() -> Callable[[LatticeSettings], TypedEdges]:
    return _brute_force


@pytest.fixture(scope="session")
def in_coordinates() -> Callable[[LatticeSettings, EdgeList], TypedEdges]:
    return _in_coordinates


@pytest.fixture
def imitation_torch_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an imitation in the place of torch_cluster, installed or not."""
    module = SimpleNamespace(radius_graph=_radius_graph)
    monkeypatch.setitem(__import__("sys").modules, "torch_cluster", module)
