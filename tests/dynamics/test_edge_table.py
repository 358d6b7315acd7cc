"""Weights of single edges: the sum they stand for, how they start, and where they do not fit."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch

from latticegraph.aggregation import Backend, SlabCells
from latticegraph.aggregation.aggregation import resolve_backend
from latticegraph.config import LatticeSettings
from latticegraph.distributed import Processes
from latticegraph.dynamics.expert import MIXING, SURFACE_SHARE
from latticegraph.dynamics.make_expert import make_expert
from latticegraph.dynamics.offset_table import EdgeTable
from latticegraph.dynamics.transport import carrying_offsets, start_transport
from latticegraph.errors import ConfigError, GraphError
from latticegraph.lattice import EdgeType, LatticeGraph
from latticegraph.model import Expert, Lattice3D, LocalExpert
from latticegraph.testing import ExpertTests
from tests.model.conftest import excite, small_model

EDGE: dict[str, Any] = {"heads": 2, "weights": "edge"}
BOX = {"dimensions": (3, 4, 5), "adaptive_radius_min": 2.3, "local_distance_ratio": 0.5}
STORED: tuple[Backend, ...] = ("spmm", "scatter")


class TestEdgesOfLocal(ExpertTests):
    kind, edges, messages, backends = "local", ("local",), EDGE, STORED


class TestEdgesOfFunctional(ExpertTests):
    kind, messages, backends = "functional", EDGE, STORED


class TestUnboundedEdgesOfDistantOnTwoTypes(ExpertTests):
    kind, edges, backends = "distant", ("local", "distant"), STORED
    messages: ClassVar[dict[str, Any]] = {**EDGE, "bounded": False}


class TestEdgesOfCell(ExpertTests):
    kind, edges, messages, backends = "cell", ("functional", "distant"), EDGE, STORED


def box(**lattice: Any) -> LatticeGraph:
    return LatticeGraph.build(LatticeSettings.model_validate({**BOX, **lattice}))


@pytest.mark.parametrize("backend", STORED)
@pytest.mark.parametrize("boundary", ["open", "periodic"])
@pytest.mark.parametrize("bounded", [True, False])
def test_every_edge_has_its_own_weight(backend: Backend, boundary: str, bounded: bool) -> None:
    graph = box(boundary=boundary, numbering="morton")
    messages = {**EDGE, "bounded": bounded}
    lattice = Lattice3D(small_model(messages=messages), graph, backend).double()
    excite(lattice)
    for index, kind in enumerate(EdgeType):
        source_E, target_E = graph.edge_index_2E[:, graph.edges_of(kind)].tolist()
        expert = lattice.experts[kind.name.lower()]
        assert isinstance(expert, Expert)
        table = expert.edge_weights
        assert isinstance(table, EdgeTable)
        table_EH = 3 * torch.randn(len(source_E), 2, dtype=torch.float64)
        with torch.no_grad():
            table.weight_OH.copy_(table_EH)
        v_CN = torch.randn(4, graph.num_cells, dtype=torch.float64)
        wanted, size_NH = torch.zeros_like(v_CN), torch.zeros(graph.num_cells, 2).double()
        for source, target, weight_H in zip(source_E, target_E, table_EH, strict=True):
            wanted[:, target] += weight_H.repeat(2) * v_CN[:, source]
            size_NH[target] += weight_H.abs()
        if bounded:
            scale_H = (size_NH.amax(0) / 2).clamp_min(1)
            assert bool((scale_H > 1).all())
            wanted /= scale_H.repeat(2)[:, None]
        prepared = lattice.weights().sums[index]
        columns = lattice.layout.columns(v_CN[:, :, None])
        found = lattice.layout.states(
            lattice.aggregation.neighbourhoods[index].sum(columns, prepared)
        )
        torch.testing.assert_close(found[..., 0], wanted, rtol=0, atol=1e-11)


def test_edges_start_with_the_variance_of_a_linear_layer() -> None:
    graph = box()
    settings = small_model(messages=EDGE, init={"init_method": "random", "gain": 3.0})
    torch.manual_seed(0)
    for index, kind in enumerate(EdgeType):
        table = make_expert(settings, index, graph).edge_weights
        assert isinstance(table, EdgeTable)
        edges = len(graph.edges_of(kind))
        assert tuple(table.weight_OH.shape) == (edges, 2)
        assert table.neighbours == int((graph.offset_type_O == int(kind)).sum())
        expected = 3.0 / table.neighbours**0.5
        assert float(table.weight_OH.detach().std()) == pytest.approx(expected, rel=0.1)


def test_self_edges_alone_have_a_weight_per_cell() -> None:
    graph = box(local_distance_ratio=0.1)
    assert int((graph.offset_type_O == int(EdgeType.LOCAL)).sum()) == 1
    lattice = Lattice3D(small_model(messages=EDGE), graph).double()
    expert = lattice.experts["local"]
    assert isinstance(expert, Expert)
    table = expert.edge_weights
    assert isinstance(table, EdgeTable)
    assert tuple(table.weight_OH.shape) == (graph.num_cells, 2)
    with torch.no_grad():
        table.weight_OH.copy_(torch.arange(graph.num_cells)[:, None] / graph.num_cells)
    v_CM = torch.ones(4, graph.num_cells, dtype=torch.float64)
    m_CM = lattice.aggregation.neighbourhoods[0].sum(v_CM, lattice.weights().sums[0])
    expected_N = torch.arange(graph.num_cells, dtype=torch.float64) / graph.num_cells
    torch.testing.assert_close(m_CM, expected_N.expand(4, -1))


def test_transport_starts_the_edges_of_the_stride() -> None:
    graph = LatticeGraph.build(LatticeSettings(dimensions=(12, 3, 3), adaptive_radius_ratio=0.34))
    settings = small_model(messages=EDGE, dynamics={"steps": 4, "min_steps": 4})
    carrying_O = carrying_offsets(graph, 4)
    lattice = Lattice3D(settings, graph)
    experts = lattice._experts()
    edge_sets = [(kind,) for kind in EdgeType]
    torch.manual_seed(5)
    start_transport(experts, edge_sets, lattice.gating, graph, settings)
    torch.manual_seed(5)
    for kind, expert in zip(EdgeType, experts, strict=True):
        kept_E = graph.edges_of(kind)
        table = expert.edge_weights
        assert isinstance(table, EdgeTable)
        random_EH = torch.randn(len(kept_E), 2) * MIXING / table.neighbours
        random_EH[:, :1] *= SURFACE_SHARE
        wanted_E = carrying_O[graph.edge_offset_E[kept_E]]
        if kind is EdgeType.LOCAL:  # self-edges alone: the state begins by staying what it is
            wanted_E = torch.ones(graph.num_cells)
        torch.testing.assert_close(table.weight_OH.detach(), wanted_E[:, None] + random_EH)
    assert float(carrying_O.sum()) == 1


def test_edges_of_another_lattice_are_refused() -> None:
    expert = LocalExpert(4, heads=2, weights="edge", offsets=5, neighbours=2)
    with pytest.raises(GraphError, match="expected 5 rows, one for each edge of the lattice"):
        expert.edge_weights(torch.zeros(4, 4))
    with pytest.raises(ValueError, match=r"offsets: expected the number of .* 'edge', got None"):
        LocalExpert(4, weights="edge")


def test_edge_weights_are_no_convolution() -> None:
    graph = box()
    settings = small_model(messages=EDGE, aggregation="fft")
    with pytest.raises(ConfigError, match=r"^model\.aggregation: .* weights 'edge'.* got fft"):
        resolve_backend(settings, graph, 4, "cpu")
    large = box(dimensions=(30, 30, 30))
    assert resolve_backend(small_model(), large, 64, "cpu") == "fft"
    assert resolve_backend(small_model(messages=EDGE), large, 64, "cpu") == "spmm"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "edge"}, r"^model\.experts\.1\.weights: .* got 'edge' for 'distant'"),
        ({"kind": "cell"}, r"^model\.experts\.1\.kind: .* got 'distant'"),
    ],
    ids=["edge", "cell"],
)
def test_slabs_refuse_weights_that_belong_to_one_cell_or_edge(
    change: dict[str, Any], message: str
) -> None:
    graph = box(dimensions=(9, 4, 5))
    experts = [{"name": kind, "kind": kind, "edges": [kind]} for kind in ("functional", "distant")]
    cells = SlabCells(graph, Processes(0, 2))
    Lattice3D(small_model(experts=experts, messages={"heads": 2}), graph, "fft", cells)
    experts[1] |= change
    with pytest.raises(ConfigError, match=message):
        Lattice3D(small_model(experts=experts, messages={"heads": 2}), graph, "fft", cells)


def test_edge_table_starts_with_the_variance_of_a_table_of_offsets() -> None:
    for options, gain in (({}, 1.0), ({"gain": 3.0}, 3.0)):
        table = EdgeTable(500, 60, 25, **options)
        found = float(table.weight_OH.detach().std())
        assert found == pytest.approx(gain / 25**0.5, rel=0.05)
