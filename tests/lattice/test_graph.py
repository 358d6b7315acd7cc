from __future__ import annotations

import pytest
import torch

from latticegraph.config import LatticeSettings
from latticegraph.lattice import EdgeType, LatticeGraph

SHAPES = [
    {"dimensions": (4, 4, 5), "adaptive_radius_ratio": 0.4},
    {"dimensions": (4, 5, 3), "adaptive_radius_ratio": 0.5, "numbering": "morton"},
    {"dimensions": (6, 5, 7), "adaptive_radius_ratio": 0.4, "boundary": "periodic"},
]


@pytest.fixture(params=SHAPES, ids=["open", "morton", "periodic"])
def graph(request: pytest.FixtureRequest) -> LatticeGraph:
    return LatticeGraph.build(LatticeSettings.model_validate(request.param))


def test_graph_types_partition_the_edges_by_distance(graph: LatticeGraph) -> None:
    parts = [graph.edges_of(edge_type) for edge_type in EdgeType]
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(len(graph.edge_type_E)))
    bounds = [-1.0, *(float(t) for t in graph.settings.exact_thresholds)]
    distance_E = graph.edge_attr_E4[:, 0] * graph.settings.max_radius
    for part, above, up_to in zip(parts, bounds[:-1], bounds[1:], strict=True):
        assert len(part) > 0
        assert (distance_E[part] > above).all()
        assert (distance_E[part] <= up_to + 1e-5).all()


def test_graph_attributes_equal_distance_and_direction_of_coordinates(graph: LatticeGraph) -> None:
    source_E, target_E = graph.edge_index_2E
    step_E3 = graph.coordinates_N3[source_E] - graph.coordinates_N3[target_E]
    if graph.settings.boundary == "periodic":
        size_3 = torch.tensor(graph.settings.dimensions)
        wrapped = (step_E3 + (size_3 - 1) // 2) % size_3 - (size_3 - 1) // 2
        step_E3 = wrapped
    distance_E = step_E3.double().norm(dim=1)
    direction_E3 = step_E3 / distance_E.clamp(min=1)[:, None]
    expected_E4 = torch.cat([distance_E[:, None] / graph.settings.max_radius, direction_E3], dim=1)
    torch.testing.assert_close(graph.edge_attr_E4, expected_E4.float())
    assert torch.equal(graph.offsets_O3[graph.edge_offset_E], step_E3)


def test_graph_every_offset_is_present(graph: LatticeGraph) -> None:
    assert torch.bincount(graph.edge_offset_E, minlength=len(graph.offsets_O3)).min() > 0
    assert torch.equal(graph.offset_type_O[graph.edge_offset_E], graph.edge_type_E)
    assert torch.equal(graph.offset_attr_O4[graph.edge_offset_E], graph.edge_attr_E4)


def test_graph_self_edges_are_local_with_zero_attributes(graph: LatticeGraph) -> None:
    own_E = graph.edge_index_2E[0] == graph.edge_index_2E[1]
    assert own_E.sum() == graph.num_cells
    assert (graph.edge_type_E[own_E] == EdgeType.LOCAL).all()
    assert (graph.edge_attr_E4[own_E] == 0).all()


def test_graph_dtypes(graph: LatticeGraph) -> None:
    integers = [
        graph.edge_index_2E, graph.edge_type_E, graph.edge_offset_E, graph.offsets_O3,
        graph.offset_type_O, graph.coordinates_N3, graph.depth_N, graph.input_cells,
        graph.output_cells, graph.edges_of(EdgeType.DISTANT),
    ]  # fmt: skip
    assert {tensor.dtype for tensor in integers} == {torch.int64}
    assert graph.edge_attr_E4.dtype == graph.offset_attr_O4.dtype == torch.float32


def test_graph_to_data_is_valid_and_carries_everything(graph: LatticeGraph) -> None:
    data = graph.to_data()
    assert data.validate(raise_on_error=True)
    assert data.num_nodes == graph.num_cells
    assert torch.equal(data.edge_index, graph.edge_index_2E)
    assert torch.equal(data.edge_type, graph.edge_type_E)
    assert torch.equal(data.edge_attr, graph.edge_attr_E4)
    assert torch.equal(data.pos, graph.coordinates_N3.float())
    assert data.has_self_loops()
    assert data.sort(sort_by_row=False).edge_index.tolist() == graph.edge_index_2E.tolist()


def test_graph_describe_agrees_with_its_edges(graph: LatticeGraph) -> None:
    summary = graph.describe()
    by_type = torch.bincount(graph.edge_type_E).tolist()
    counts = summary["edges"]
    assert [counts["self"] + counts["local"], counts["functional"], counts["distant"]] == by_type
    assert summary["crossing_steps"] == graph.crossing_steps


def test_graph_morton_numbering_relabels_every_tensor() -> None:
    plain = LatticeGraph.build(LatticeSettings(dimensions=(4, 5, 8)))
    morton = LatticeGraph.build(LatticeSettings(dimensions=(4, 5, 8), numbering="morton"))
    size_3 = torch.tensor([40, 8, 1])
    name_N = (morton.coordinates_N3 * size_3).sum(dim=1)
    assert not torch.equal(name_N, torch.arange(morton.num_cells))
    source_E, target_E = name_N[morton.edge_index_2E]
    order_E = torch.argsort(target_E * morton.num_cells + source_E)
    assert torch.equal(torch.stack([source_E, target_E])[:, order_E], plain.edge_index_2E)
    assert torch.equal(morton.edge_attr_E4[order_E], plain.edge_attr_E4)
    assert torch.equal(name_N[morton.input_cells], plain.input_cells)
    assert torch.equal(name_N[morton.output_cells], plain.output_cells)
    assert torch.equal(morton.depth_N, plain.depth_N[name_N])
