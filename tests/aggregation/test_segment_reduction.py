"""Every backend against torch-scatter's segment reduction over edges sorted by target."""

from __future__ import annotations

import pytest
import torch

from latticegraph.aggregation import BACKENDS, Backend, Cells
from latticegraph.aggregation.aggregation import make_neighbourhood
from latticegraph.aggregation.layout import Layout
from latticegraph.config import LatticeSettings
from latticegraph.lattice import EdgeType, LatticeGraph
from latticegraph.model import FunctionalExpert

torch_scatter = pytest.importorskip("torch_scatter")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", list(EdgeType))
def test_neighbour_sum_equals_segment_reduction(backend: Backend, kind: EdgeType) -> None:
    graph = LatticeGraph.build(LatticeSettings(dimensions=(4, 4, 5), adaptive_radius_min=1.6))
    neighbourhood = make_neighbourhood(graph, [kind], 2, backend)
    neighbourhood.to(torch.device("cpu"), torch.float64)
    layout = Layout(graph, Cells(graph), neighbourhood.samples_inner)
    expert = FunctionalExpert(4, heads=2).double()
    with torch.no_grad():  # large enough to be scaled down
        expert.edge_weights.out.weight.mul_(30)
    x = torch.randn(4, graph.num_cells, 3, dtype=torch.float64)

    edges = graph.edges_of(kind)
    source, target = graph.edge_index_2E[:, edges]
    raw_EH = expert.edge_weights(graph.edge_attr_E4[edges].double(), neighbourhood.neighbours)
    degree = torch.bincount(target, minlength=graph.num_cells)
    pointer = torch.cat([torch.zeros(1, dtype=torch.int64), degree.cumsum(0)])
    largest_H = torch_scatter.segment_csr(raw_EH.abs(), pointer, reduce="sum").amax(0)
    assert kind == EdgeType.LOCAL or float(largest_H.detach().min()) > 2
    weight_EH = raw_EH / (largest_H / 2).clamp_min(1)
    messages = x[:, source] * weight_EH.t().repeat(2, 1)[:, :, None]
    expected = torch_scatter.segment_csr(messages, pointer[None].expand(4, -1), reduce="sum")

    weight_OH = neighbourhood.scaled(
        expert.edge_weights(neighbourhood.edge_attr_O4, neighbourhood.neighbours)
    )
    got = neighbourhood.sum(layout.columns(x), neighbourhood.prepare(weight_OH))
    torch.testing.assert_close(layout.states(got), expected, rtol=0, atol=1e-10)
