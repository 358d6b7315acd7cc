"""Both backends against torch-scatter's segment reduction over edges sorted by target."""

from __future__ import annotations

import pytest
import torch

from latticegraph.aggregation import BACKENDS, Neighbourhood
from latticegraph.config import LatticeSettings
from latticegraph.lattice import EdgeType, LatticeGraph
from latticegraph.model import FunctionalExpert

torch_scatter = pytest.importorskip("torch_scatter")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", list(EdgeType))
def test_neighbour_sum_equals_segment_reduction(backend: str, kind: EdgeType) -> None:
    graph = LatticeGraph.build(LatticeSettings(dimensions=(4, 4, 5), adaptive_radius_min=1.6))
    edges = graph.edges_of(kind)
    edge_index, attr = graph.edge_index_2E[:, edges], graph.edge_attr_E4[edges].double()
    neighbourhood = Neighbourhood(edge_index, attr, graph.num_cells, 2, backend)  # type: ignore[arg-type]
    expert = FunctionalExpert(4, heads=2).double()
    expert.value = None
    expert.propose = lambda x_CNB, m_CNB: m_CNB  # type: ignore[method-assign]
    x = torch.randn(4, graph.num_cells, 3, dtype=torch.float64)
    weight = expert.weights(neighbourhood)
    source, target = edge_index
    degree = torch.bincount(target, minlength=graph.num_cells)
    pointer = torch.cat([torch.zeros(1, dtype=torch.int64), degree.cumsum(0)])
    messages = x[:, source] * weight.t().repeat(2, 1)[:, :, None]
    expected = torch_scatter.segment_csr(messages, pointer[None].expand(4, -1), reduce="sum")
    torch.testing.assert_close(expert.proposal(x, neighbourhood), expected, rtol=0, atol=1e-10)
