"""Stencils: largest sums without edges, reach, and what is a cell's own neighbourhood."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from latticegraph.aggregation import SparseNeighbourhood, Stencil
from latticegraph.aggregation.aggregation import make_neighbourhood
from latticegraph.config import LatticeSettings
from latticegraph.lattice import EdgeType, LatticeGraph
from tests.aggregation.conftest import Case, cases, make_case


@settings(max_examples=200, deadline=None, derandomize=True)
@given(case=cases(longest=9, most_cells=120))
def test_stencil_largest_sum_equals_that_over_edges(case: Case) -> None:
    size = case.random()[1].abs()
    expected = case.neighbourhood("scatter").largest_sum(size)
    torch.testing.assert_close(case.stencil.largest_sum(size), expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(case=cases(longest=4, most_cells=30))
def test_stencil_largest_sum_has_the_gradient_of_that_over_edges(case: Case) -> None:
    gradients = []
    for largest_sum in (case.stencil.largest_sum, case.neighbourhood("scatter").largest_sum):
        size = case.random()[1].abs().requires_grad_()
        (largest_sum(size) * torch.arange(1.0, case.heads + 1)).sum().backward()
        gradients.append(size.grad)
    # Cells that tie share the gradient; how many of them tie differs, what they add up to does not.
    stencil, edges = gradients
    assert stencil is not None
    assert edges is not None
    size = case.random()[1].abs()
    torch.testing.assert_close((stencil * size).sum(0), (edges * size).sum(0))


@pytest.mark.parametrize("boundary", ["open", "periodic"])
@pytest.mark.parametrize("dimensions", [(4, 4, 5), (2, 3, 7), (6, 5, 4), (2, 2, 9)])
@pytest.mark.parametrize("kind", list(EdgeType))
def test_stencil_of_a_lattice_scales_like_its_edges(
    dimensions: tuple[int, int, int], boundary: str, kind: EdgeType
) -> None:
    settings = LatticeSettings.model_validate(
        {
            "dimensions": dimensions,
            "adaptive_radius_min": 3.2,
            "local_distance_ratio": 0.35,
            "boundary": boundary,
        }
    )
    graph = LatticeGraph.build(settings)
    neighbourhoods = [make_neighbourhood(graph, [kind], 2, b) for b in ("spmm", "fft", "scatter")]
    weight = torch.randn(len(neighbourhoods[0].edge_attr_O4), 2, dtype=torch.float64) * 3
    scaled = [neighbourhood.scaled(weight) for neighbourhood in neighbourhoods]
    assert isinstance(neighbourhoods[0], SparseNeighbourhood)
    torch.testing.assert_close(scaled[0], scaled[2], rtol=1e-12, atol=0)
    torch.testing.assert_close(scaled[1], scaled[2], rtol=1e-12, atol=0)


def test_stencil_reach_and_self() -> None:
    assert make_case((5, 5, 5), False, [(0, 1, -3), (-2, 0, 1)]).stencil.reach == (2, 1, 3)
    assert make_case((5, 5, 5), False, [(0, 0, 0)]).stencil.is_self
    assert not make_case((5, 5, 5), False, [(0, 0, 1)]).stencil.is_self
    assert not make_case((5, 5, 5), False, [(0, 0, 0), (0, 0, 1)]).stencil.is_self
    none = Stencil(torch.empty(0, 3, dtype=torch.int64), (2, 2, 2), False)
    assert none.reach == (0, 0, 0)
    assert not none.is_self


def test_stencil_moves_to_a_device() -> None:
    stencil = Stencil(torch.tensor([[0, 1, 0], [0, 0, 1]]), (3, 4, 5), False)
    stencil.to(torch.device("meta"))
    assert stencil.offsets_O3.device.type == "meta"
