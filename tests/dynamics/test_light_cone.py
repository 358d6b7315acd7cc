"""The light cone gives the output face exactly what the whole lattice gives it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from latticegraph.aggregation import Backend, aggregation
from latticegraph.aggregation.light_cone import row_matrix
from latticegraph.config import LatticeSettings
from latticegraph.config.model import ModelSettings
from latticegraph.dynamics import Lattice3D, Recorder, SilenceExpert, StepRecord
from latticegraph.lattice import EdgeType, LatticeGraph

LATTICE = {"dimensions": (5, 3, 4), "adaptive_radius_min": 1.6}


def make(
    steps: int = 5,
    backend: Backend = "spmm",
    lattice: dict[str, Any] | None = None,
    **model: Any,
) -> tuple[Lattice3D, LatticeGraph]:
    settings = ModelSettings.model_validate(
        {
            "state_channels": 4,
            "messages": {"heads": 2, "edge_hidden": 4},
            "dynamics": {"steps": steps, "min_steps": steps},
            **model,
        }
    )
    graph = LatticeGraph.build(LatticeSettings.model_validate(LATTICE | (lattice or {})))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        dynamics = Lattice3D(settings, graph, backend).double()
        with torch.no_grad():
            for parameter in dynamics.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return dynamics, graph


def first_states(graph: LatticeGraph) -> Tensor:
    """The same for all samples but in the input face."""
    generator = torch.Generator().manual_seed(1)
    x_CNB = torch.randn(4, graph.num_cells, 1, generator=generator, dtype=torch.float64)
    x_CNB = x_CNB.repeat(1, 1, 3)
    face = graph.input_cells
    x_CNB[:, face] = torch.randn(4, len(face), 3, generator=generator, dtype=torch.float64)
    return x_CNB


def output_and_gradients(
    dynamics: Lattice3D, graph: LatticeGraph, whole: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    dynamics.zero_grad()
    x_CNB = first_states(graph).requires_grad_()
    states_CNB = dynamics.rollout(x_CNB, whole=whole).states_CNB
    output = states_CNB[:, graph.output_cells]
    output.sin().sum().backward()
    gradients = {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in dynamics.named_parameters()
    }
    assert x_CNB.grad is not None
    return output.detach(), gradients | {"input": x_CNB.grad[:, graph.input_cells]}


TABLE = {"heads": 2, "weights": "table"}
EDGE = {"heads": 2, "weights": "edge"}
CELLS = [
    {"name": "local", "kind": "local", "edges": ["local"]},
    {"name": "far", "kind": "cell", "edges": ["functional", "distant"]},
]


@pytest.mark.parametrize(
    ("backend", "lattice", "model"),
    [
        ("spmm", {}, {}),
        ("fft", {}, {}),
        ("scatter", {}, {}),
        ("spmm", {"numbering": "morton"}, {}),
        ("spmm", {"axis": 2, "dimensions": (3, 4, 5)}, {}),
        ("fft", {"adaptive_radius_min": 2.3, "local_distance_ratio": 0.5}, {}),
        ("spmm", {}, {"experts": CELLS}),
        ("fft", {"numbering": "morton"}, {"experts": CELLS}),
        ("spmm", {}, {"mapper": {"volume_init": "depth_decay"}}),
        ("spmm", {"numbering": "morton"}, {"messages": TABLE}),
        ("fft", {}, {"messages": {**TABLE, "bounded": False}, "experts": CELLS}),
        ("spmm", {"numbering": "morton"}, {"messages": EDGE}),
        ("scatter", {}, {"messages": {**EDGE, "bounded": False}, "experts": CELLS}),
    ],
)
def test_output_and_gradients_are_those_of_the_whole_lattice(
    backend: Backend, lattice: dict[str, Any], model: dict[str, Any]
) -> None:
    dynamics, graph = make(5, backend, lattice, **model)
    wanted, gradients = output_and_gradients(dynamics, graph, whole=True)
    found, mine = output_and_gradients(dynamics, graph, whole=False)
    assert dynamics.cones.made(5) is not None
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    for name, gradient in gradients.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-9, atol=1e-10, msg=name)


@pytest.mark.parametrize("numbering", ["row_major", "morton"])
@pytest.mark.parametrize("boundary", ["open", "periodic"])
def test_constant_cells_are_summed_by_convolution_where_that_is_faster(
    numbering: str, boundary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aggregation, "cheapest", lambda *a, **k: "fft")
    lattice = {"numbering": numbering, "boundary": boundary, "dimensions": (6, 3, 4)}
    dynamics, graph = make(5, "spmm", lattice, messages=TABLE, experts=CELLS)
    wanted, gradients = output_and_gradients(dynamics, graph, whole=True)
    found, mine = output_and_gradients(dynamics, graph, whole=False)
    cone = dynamics.cones.made(5)
    assert cone is not None
    assert cone.one_sample.backend == "fft"
    assert any(block.hears_constant for block in cone.blocks)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    for name, gradient in gradients.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-9, atol=1e-10, msg=name)


def test_backend_for_one_sample_depends_on_the_number_of_edges() -> None:
    def chosen(backend: Backend, radius: float, messages: dict[str, Any]) -> str:
        lattice = {"dimensions": (8, 8, 8), "adaptive_radius_min": radius}
        dynamics, graph = make(8, backend, lattice, messages=messages, experts=CELLS)
        types = [(EdgeType.LOCAL,), (EdgeType.FUNCTIONAL, EdgeType.DISTANT)]
        return dynamics.aggregation.for_one_sample(graph, types).backend

    assert chosen("spmm", 1.6, TABLE) == "spmm"
    assert chosen("spmm", 5.0, TABLE) == "fft"
    assert chosen("scatter", 5.0, TABLE) == "scatter"
    assert chosen("spmm", 5.0, EDGE) == "spmm"  # no convolution


@pytest.mark.parametrize("rows", [3, 2])
@pytest.mark.parametrize("boundary", ["open", "periodic"])
def test_table_of_pairs_holds_the_edges(boundary: str, rows: int) -> None:
    sides = {"dimensions": (5, rows, 4), "boundary": boundary, "numbering": "morton"}
    graph = LatticeGraph.build(LatticeSettings.model_validate(LATTICE | sides))
    source_E, target_E = graph.edge_index_2E
    expected_NN = torch.full((graph.num_cells, graph.num_cells), len(graph.offsets_O3))
    expected_NN[target_E, source_E] = graph.edge_offset_E
    assert torch.equal(row_matrix(graph, tuple(EdgeType)), expected_NN)
    assert int((expected_NN < len(graph.offsets_O3)).sum()) == len(source_E)


def test_only_cells_that_matter_are_computed() -> None:
    dynamics, graph = make(4)
    cone = dynamics.cones.made(4)
    assert cone is not None
    depths = [sorted(set(graph.depth_N[s.after.varying_n].tolist())) for s in cone.steps]
    assert depths == [[1], [2], [3], [4]]  # as many steps as planes: one plane in each
    assert cone.share == pytest.approx(4 / (4 * 5))


def test_light_cones_move_where_the_lattice_moves() -> None:
    dynamics, _ = make(4)
    cone = dynamics.cones.made(4)
    assert cone is not None
    assert dynamics.cones.made(60) is None  # nearly all cells in nearly all steps
    dynamics.to("meta")
    moved = [cone.visits_N, cone.first.varying_n, cone.last.varying_n]
    moved += [step.after.varying_n for step in cone.steps]
    assert {tensor.device.type for tensor in moved} == {"meta"}


def test_states_of_other_cells_come_back_as_zero() -> None:
    dynamics, graph = make(5)
    states_CNB = dynamics.rollout(first_states(graph), whole=False).states_CNB
    others = torch.ones(graph.num_cells, dtype=torch.bool)
    others[graph.output_cells] = False
    assert not bool(states_CNB[:, others].any())
    assert bool(states_CNB[:, graph.output_cells].any())


def test_what_records_or_intervenes_sees_all_cells() -> None:
    dynamics, graph = make(5)
    x_CNB = first_states(graph)
    edit = SilenceExpert(name="distant")
    with torch.no_grad():
        wanted = dynamics.rollout(x_CNB, interventions=[edit]).states_CNB
        found = dynamics.rollout(x_CNB, interventions=[edit], whole=False).states_CNB
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


@pytest.mark.parametrize(
    "dynamics", [{"tolerance": 0.1}, {"backprop_steps": 2}], ids=["stops early", "short gradient"]
)
def test_rollouts_it_does_not_cover_take_the_whole_lattice(dynamics: dict[str, Any]) -> None:
    steps = {"steps": 5, "min_steps": 5}
    lattice, graph = make(5, dynamics=steps | dynamics)
    states_CNB = lattice.rollout(first_states(graph), whole=False).states_CNB
    assert bool(states_CNB.any(0).any(1).all())


def test_usage_is_a_share_of_the_experts_in_every_cell() -> None:
    dynamics, graph = make(4)  # the cells of the front plane are never computed
    rollout = dynamics.rollout(first_states(graph), whole=False)
    assert rollout.usage_XN.shape == (3, graph.num_cells)
    torch.testing.assert_close(rollout.usage_XN.sum(0), torch.ones(graph.num_cells).double())
    assert rollout.change_T.shape == (4,)


def test_usage_is_that_of_the_steps_in_which_a_cell_is_computed() -> None:
    """Each plane is computed once, and the front plane, which never is, gets the mean."""
    dynamics, graph = make(4)
    x_CNB, gates = first_states(graph), []

    class Gates(Recorder):
        def record(self, record: StepRecord) -> None:
            gates.append(record.gates_XNb.mean(2))

    with torch.no_grad():
        dynamics.rollout(x_CNB, recorder=Gates())
        usage_XN = dynamics.rollout(x_CNB, whole=False).usage_XN
    for depth in range(1, 5):
        plane = graph.depth_N == depth
        torch.testing.assert_close(usage_XN[:, plane], gates[depth - 1][:, plane])
    computed = graph.depth_N > 0
    mean_X1 = usage_XN[:, computed].mean(1, keepdim=True)
    torch.testing.assert_close(usage_XN[:, ~computed], mean_X1.expand(-1, int((~computed).sum())))
