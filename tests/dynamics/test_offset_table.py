"""Tables of edge weights: the sum they stand for, how they start, and where they do not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latticegraph.config import LatticeSettings, ModelSettings
from latticegraph.dynamics.expert import MIXING, SURFACE_SHARE
from latticegraph.dynamics.kernel import kernel_of
from latticegraph.dynamics.make_expert import make_expert
from latticegraph.dynamics.offset_table import OffsetTable
from latticegraph.dynamics.transport import carrying_offsets
from latticegraph.errors import ConfigError, GraphError
from latticegraph.kernels import FusedKernels
from latticegraph.lattice import EdgeType, LatticeGraph
from latticegraph.model import DistantExpert, Expert, FunctionalExpert, Lattice3D, LocalExpert
from latticegraph.testing import ExpertTests
from tests.model.conftest import excite, small_model

TABLE = {"heads": 2, "weights": "table"}
BOX = {"dimensions": (3, 4, 5), "adaptive_radius_min": 2.3, "local_distance_ratio": 0.5}
EXPERTS = [LocalExpert, FunctionalExpert, DistantExpert]


class TestTableOfLocal(ExpertTests):
    kind, edges, messages = "local", ("local",), TABLE


class TestTableOfFunctional(ExpertTests):
    kind, messages = "functional", TABLE


class TestUnboundedTableOfDistantOnTwoTypes(ExpertTests):
    kind, edges, messages = "distant", ("local", "distant"), {**TABLE, "bounded": False}


class TestTableOfCell(ExpertTests):
    kind, edges, messages = "cell", ("functional", "distant"), TABLE


def make(
    backend: Any, lattice: dict[str, Any] | None = None, **model: Any
) -> tuple[Lattice3D, LatticeGraph]:
    graph = LatticeGraph.build(LatticeSettings.model_validate({**BOX, **(lattice or {})}))
    torch.manual_seed(0)
    return Lattice3D(small_model(**{"messages": TABLE, **model}), graph, backend).double(), graph


def by_hand(
    graph: LatticeGraph, offsets_O3: Tensor, weight_OH: Tensor, v_CN: Tensor
) -> tuple[Tensor, Tensor]:
    """Sums cell by cell and offset by offset, and the largest sum of sizes of every head."""
    sides, periodic = graph.settings.dimensions, graph.settings.boundary == "periodic"
    number = {tuple(place): i for i, place in enumerate(graph.coordinates_N3.tolist())}
    m_CN, size_NH = torch.zeros_like(v_CN), v_CN.new_zeros(len(number), weight_OH.shape[1])
    for place, i in number.items():
        for offset, weight_H in zip(offsets_O3.tolist(), weight_OH, strict=True):
            there = tuple(a + b for a, b in zip(place, offset, strict=True))
            if periodic:
                there = tuple(a % n for a, n in zip(there, sides, strict=True))
            if there in number:
                size_NH[i] += weight_H.abs()
                m_CN[:, i] += weight_H.repeat(len(v_CN) // len(weight_H)) * v_CN[:, number[there]]
    return m_CN, size_NH.amax(0)


@pytest.mark.parametrize("backend", ["spmm", "fft", "scatter"])
@pytest.mark.parametrize("boundary", ["open", "periodic"])
@pytest.mark.parametrize("bounded", [True, False])
def test_table_is_the_sum_over_offsets(backend: str, boundary: str, bounded: bool) -> None:
    messages = {**TABLE, "bounded": bounded}
    # Morton numbers, so that a row is found by its offset and not by the order of cells.
    where = {"boundary": boundary, "numbering": "morton"}
    lattice, graph = make(backend, where, messages=messages, init={"init_method": "random"})
    excite(lattice)
    divided = 0
    for index, kind in enumerate(EdgeType):
        offsets_O3 = graph.offsets_O3[graph.offset_type_O == int(kind)]
        expert = lattice.experts[kind.name.lower()]
        assert isinstance(expert, Expert)
        assert isinstance(expert.edge_weights, OffsetTable)
        table_OH = 3 * torch.randn(len(offsets_O3), 2, dtype=torch.float64)
        with torch.no_grad():
            expert.edge_weights.weight_OH.copy_(table_OH)
        v_CN = torch.randn(4, graph.num_cells, dtype=torch.float64)
        wanted, size_H = by_hand(graph, offsets_O3, table_OH, v_CN)
        if bounded:
            scale_H = (size_H / 2).clamp_min(1)
            wanted /= scale_H.repeat(2)[:, None]
            divided += int((scale_H > 1).sum())
        neighbourhood = lattice.aggregation.neighbourhoods[index]
        prepared = lattice.weights().sums[index]
        columns = lattice.layout.columns(v_CN[:, :, None])
        got = lattice.layout.states(neighbourhood.sum(columns, prepared))[..., 0]
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-11)
    assert bool(divided) == bounded


class _Objective(nn.Module):
    """A rollout as a module, so that its parameters can be inputs."""

    def __init__(self, lattice: Lattice3D) -> None:
        super().__init__()
        self.lattice = lattice

    def forward(self, x_CNB: Tensor) -> Tensor:
        rollout = self.lattice.rollout(x_CNB)
        return rollout.states_CNB.sin().sum() + rollout.change_T.sum()


@pytest.mark.parametrize("backend", ["spmm", "fft", "scatter"])
@pytest.mark.parametrize("bounded", [True, False])
def test_table_gradient_equals_the_numeric_one(
    backend: str, bounded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    step = FusedKernels.__call__
    monkeypatch.setattr(FusedKernels, "__call__", lambda *a: calls.append(1) or step(*a))
    lattice, graph = make(
        backend,
        {"dimensions": (3, 3, 3)},
        messages={**TABLE, "bounded": bounded},
        dynamics={"steps": 2, "min_steps": 2},
    )
    excite(lattice)
    module = _Objective(lattice)
    tables = {n: p for n, p in module.named_parameters() if n.endswith("edge_weights.weight_OH")}
    assert len(tables) == 3
    inputs = [3 * p.detach().clone() for p in tables.values()]
    x_CNB = torch.randn(4, graph.num_cells, 1, dtype=torch.float64)

    def function(*parameters: Tensor) -> Tensor:
        named = dict(zip(tables, parameters, strict=True))
        result: Tensor = torch.func.functional_call(module, named, (x_CNB,))
        return result

    assert torch.autograd.gradcheck(function, [value.requires_grad_() for value in inputs])
    assert bool(calls) == (backend != "scatter")


def test_table_starts_with_the_variance_of_a_linear_layer() -> None:
    """The parameters are the weights: nothing multiplies them, so no learning rate is scaled."""
    torch.manual_seed(0)
    for offsets, gain in ((6, 1.0), (400, 1.0), (400, 3.0)):
        table = OffsetTable(offsets, 2000, gain)
        assert table(torch.zeros(offsets, 4), 7) is table.weight_OH
        assert float(table.weight_OH.detach().std()) == pytest.approx(gain / offsets**0.5, rel=0.02)
        before = table.weight_OH.detach().clone()
        table.reset_parameters(gain)
        assert not torch.equal(before, table.weight_OH)
    usual = OffsetTable(400, 2000).weight_OH.detach()
    assert float(usual.std()) == pytest.approx(1 / 400**0.5, rel=0.02)


def test_table_fit_is_exact() -> None:
    wanted_OH = torch.randn(50, 3)
    table = OffsetTable(50, 3)
    table.fit(torch.zeros(50, 4), wanted_OH)
    assert torch.equal(table(torch.zeros(50, 4)), wanted_OH)


@pytest.mark.parametrize("kind", EXPERTS)
def test_transport_starts_a_table_exactly(kind: type[Expert]) -> None:
    graph = LatticeGraph.build(LatticeSettings(dimensions=(12, 3, 3), adaptive_radius_ratio=0.34))
    wanted_O = carrying_offsets(graph, 4)
    assert int((wanted_O > 0).sum()) == 2
    count = len(wanted_O)
    expert = kind(4, heads=4, weights="table", offsets=count)
    torch.manual_seed(5)
    expert.start_transport(graph.offset_attr_O4, wanted_O, 1, 0.2)
    torch.manual_seed(5)
    random_OH = torch.randn(count, 4) * MIXING / count
    random_OH[:, :1] *= SURFACE_SHARE
    found = expert.edge_weights(graph.offset_attr_O4)
    assert torch.equal(found, wanted_O[:, None] + random_OH)


def test_signal_crosses_a_deep_lattice_from_the_start() -> None:
    """Without bumps a network cannot single out the neighbour that carries it; a table can."""
    graph = LatticeGraph.build(LatticeSettings(dimensions=(27, 3, 3)))
    arrived = {}
    for weights in ("table", "network"):
        torch.manual_seed(0)
        model = small_model(
            messages={"heads": 2, "weights": weights}, dynamics={"steps": 6, "min_steps": 6}
        )
        lattice = Lattice3D(model, graph).double()
        x_CNB = torch.zeros(4, graph.num_cells, 1, dtype=torch.float64)
        y_CNB = x_CNB.clone()
        y_CNB[0, graph.input_cells] = 1.0
        with torch.no_grad():
            moved = lattice.rollout(y_CNB).states_CNB - lattice.rollout(x_CNB).states_CNB
        arrived[weights] = float(moved[0, graph.output_cells].mean())
    assert arrived["table"] > 0.01
    assert arrived["table"] > 5 * abs(arrived["network"])


def test_one_expert_may_have_a_table_and_another_a_network() -> None:
    kinds = ("local", "functional", "distant")
    listed = [{"name": k, "kind": k, "edges": [k]} for k in kinds]
    listed[2] |= {"weights": "table", "bounded": False, "heads": 4}
    settings = small_model(messages={"heads": 2, "edge_hidden": 8, "bumps": 1}, experts=listed)
    graph = LatticeGraph.build(LatticeSettings.model_validate(BOX))
    made = [make_expert(settings, index, graph) for index in range(3)]
    tables = [isinstance(expert.edge_weights, OffsetTable) for expert in made]
    assert tables == [False, False, True]
    assert [expert.bounded for expert in made] == [True, True, False]
    distant = int((graph.offset_type_O == int(EdgeType.DISTANT)).sum())
    assert tuple(made[2].edge_weights.weight_OH.shape) == (distant, 4)
    assert all(kernel_of(expert) is not None for expert in made)


@pytest.mark.parametrize("kind", EXPERTS)
def test_expert_with_a_table_alone_takes_as_many_edges_as_rows(kind: type[Expert]) -> None:
    expert = kind(4, heads=2, weights="table", offsets=5)
    x = torch.randn(3, 4)
    edge_index = torch.tensor([[0, 1, 2, 0, 1], [1, 2, 0, 2, 0]])
    assert expert(x, edge_index, torch.randn(5, 4)).shape == (3, 4)
    with pytest.raises(
        GraphError,
        match=r"^edge_attr: expected 5 rows, one for each offset of the lattice .*, got 4\. On "
        r"another graph use an expert with weights 'network'",
    ):
        expert(x, edge_index[:, :4], torch.randn(4, 4))
    with pytest.raises(GraphError, match="expected 5 rows"):
        expert.edge_weights.fit(torch.zeros(4, 4), torch.zeros(4, 2))


def test_expert_refuses_a_table_without_its_size_and_unknown_weights() -> None:
    for offsets in (None, 0):
        with pytest.raises(ValueError, match=rf"offsets: expected the number of .* got {offsets}"):
            LocalExpert(4, weights="table", offsets=offsets)
    with pytest.raises(ValueError, match=r"weights: expected network, table or edge, got tabel"):
        LocalExpert(4, weights="tabel")


def test_offsets_are_no_option_of_an_expert() -> None:
    """The lattice decides."""
    listed = [{"name": "one", "kind": "local", "edges": ["local"], "options": {"offsets": 3}}]
    settings = ModelSettings.model_validate({"experts": listed})
    with pytest.raises(ConfigError, match=r"model\.experts\.0\.options: .* no option offsets"):
        make_expert(settings, 0, LatticeGraph.build(LatticeSettings.model_validate(BOX)))


@pytest.mark.parametrize("weights", ["network", "table", "edge"])
@pytest.mark.parametrize(("kind", "carries"), [("cell", False), ("local", True)])
def test_weight_gain_scales_the_random_start_of_one_experts_weights_alone(
    weights: str, kind: str, carries: bool
) -> None:
    """What ``local`` carries from the front face does not grow; ``cell`` carries nothing."""

    def start(gain: float) -> dict[str, Tensor]:
        experts = [
            {"name": "one", "kind": kind, "edges": ["local", "functional"]},
            {"name": "two", "kind": kind, "edges": ["local", "functional"], "weight_gain": gain},
        ]
        lattice, _ = make("spmm", BOX, messages={**TABLE, "weights": weights}, experts=experts)
        return dict(lattice.named_parameters())

    first, second, third = start(1.0), start(2.0), start(3.0)
    changed = {name for name in first if not torch.equal(first[name], second[name])}
    assert changed
    assert all(name.startswith("experts.two.edge_weights.") for name in changed)
    if weights != "network":
        assert changed == {"experts.two.edge_weights.weight_OH"}
        one, two, three = (p["experts.two.edge_weights.weight_OH"] for p in (first, second, third))
        # Drawn in float32, and of size 1 where something is carried.
        eps = torch.finfo(torch.float32).eps
        torch.testing.assert_close(three - two, two - one, rtol=0, atol=16 * eps)
        carried = 2 * one - two  # with a gain of 0
        assert bool((carried.abs() > 0.5).any()) == carries
