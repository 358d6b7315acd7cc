"""The three experts: closed forms, behaviour on any graph, and how they differ."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from latticegraph.aggregation import (
    EdgeNeighbourhood,
    SelfNeighbourhood,
    SparseNeighbourhood,
)
from latticegraph.dynamics.expert import SURFACE_SHARE
from latticegraph.dynamics.functional_expert import GATE_START
from latticegraph.kernels.local import LocalKernel
from latticegraph.lattice import LatticeGraph
from latticegraph.model import DistantExpert, Expert, FunctionalExpert, LocalExpert
from tests.model.conftest import small_lattice

EXPERTS = [LocalExpert, FunctionalExpert, DistantExpert]


def random_data(nodes: int = 9, edges: int = 30) -> Data:
    """An irregular graph with edge attributes as the lattice has them; node 0 has no edge."""
    edge_index = torch.randint(1, nodes, (2, edges))
    direction = torch.nn.functional.normalize(torch.randn(edges, 3), dim=1)
    attr = torch.cat([torch.rand(edges, 1), direction], dim=1).double()
    return Data(x=torch.randn(nodes, 4, dtype=torch.float64), edge_index=edge_index, edge_attr=attr)


def apply(expert: Expert, data: Data) -> Tensor:
    result: Tensor = expert(data.x, data.edge_index, data.edge_attr)
    return result


@pytest.mark.parametrize("kind", EXPERTS)
def test_expert_alone_is_permutation_equivariant(kind: type[Expert]) -> None:
    expert, data = kind(4, heads=2).double(), random_data()
    order = torch.randperm(9)
    inverse = order.argsort()
    shuffled = expert(data.x[order], inverse[data.edge_index], data.edge_attr)
    torch.testing.assert_close(shuffled, apply(expert, data)[order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", EXPERTS)
def test_expert_alone_ignores_cells_without_an_edge_between(kind: type[Expert]) -> None:
    expert, data = kind(4, heads=1).double(), random_data()
    before = apply(expert, data)
    data.x[0] += 1.0
    after = apply(expert, data)
    assert torch.equal(before[1:], after[1:])
    assert not torch.equal(before[0], after[0])


@pytest.mark.parametrize("kind", EXPERTS)
def test_expert_alone_equals_expert_in_the_lattice(kind: type[Expert]) -> None:
    graph = LatticeGraph.build(small_lattice())
    expert = kind(4, heads=2).double()
    attr = graph.edge_attr_E4.double()
    x = torch.randn(graph.num_cells, 4, dtype=torch.float64)
    fast = SparseNeighbourhood(EdgeNeighbourhood(graph.edge_index_2E, attr, graph.num_cells, 2))
    weight_OH = fast.scaled(expert.edge_weights(fast.edge_attr_O4, fast.neighbours))
    x_CM = x.t().contiguous()
    m_CM = fast.sum(expert.value(x_CM), fast.prepare(weight_OH))
    inside = (x_CM + expert.update(m_CM, x_CM)).t()
    torch.testing.assert_close(expert(x, graph.edge_index_2E, attr), inside, rtol=0, atol=1e-12)


def test_local_expert_closed_form() -> None:
    expert, data = LocalExpert(4, heads=1).double(), random_data()
    neighbourhood = EdgeNeighbourhood(data.edge_index, data.edge_attr, 9, 1)
    weight = neighbourhood.scaled(expert.edge_weights(data.edge_attr, neighbourhood.neighbours))
    m = torch.zeros(9, 4, dtype=torch.float64)
    for e, (j, i) in enumerate(data.edge_index.t().tolist()):
        m[i] += weight[e, 0] * data.x[j]
    torch.testing.assert_close(apply(expert, data), data.x + m @ expert.mix.weight.t())


def test_local_expert_is_linear_and_the_others_are_not() -> None:
    data = random_data()
    for kind in EXPERTS:
        expert = kind(4).double()
        zero = expert(torch.zeros_like(data.x), data.edge_index, data.edge_attr)
        once = apply(expert, data) - zero
        twice = expert(2 * data.x, data.edge_index, data.edge_attr) - zero
        linear = bool(torch.allclose(twice, 2 * once, atol=1e-10))
        assert linear == (kind is LocalExpert)


def test_functional_expert_by_hand() -> None:
    """One channel, all weights set: y = x + sigmoid(c) (m + w silu(d x + e m) - x)."""
    expert = FunctionalExpert(1).double()
    x, m = 0.7, -0.4
    with torch.no_grad():
        expert.from_state.weight.copy_(torch.tensor([[0.0], [2.0]]))
        expert.from_state.bias.copy_(torch.tensor([0.5, 0.0]))  # type: ignore[union-attr]
        expert.from_sum.weight.copy_(torch.tensor([[0.0], [3.0]]))
        expert.candidate.weight.fill_(1.5)
    hidden = 2 * x + 3 * m
    silu = hidden / (1 + math.exp(-hidden))
    gate = 1 / (1 + math.exp(-0.5))
    wanted = x + gate * (m + 1.5 * silu - x)
    x_CM, m_CM = torch.full((1, 1), x).double(), torch.full((1, 1), m).double()
    got = x_CM + expert.update(m_CM, x_CM)
    assert float(got.detach()) == pytest.approx(wanted, abs=1e-6)


def test_distant_expert_relaxes_like_the_exponential() -> None:
    """Without drive dz/dt = m - z: many Euler sub-steps approach m + (x - m) / e."""
    x, m = torch.full((1, 1), 2.0).double(), torch.full((1, 1), 0.5).double()
    values = []
    for substeps in (1, 2, 400):
        expert = DistantExpert(1, substeps=min(substeps, 16)).double()
        expert.substeps = substeps  # beyond the range, for the limit
        with torch.no_grad():
            expert.out.weight.zero_()
            expert.rest.zero_()
        values.append(float((x + expert.update(m, x)).detach()))
    assert values[0] == pytest.approx(0.5)
    assert values[1] == pytest.approx(0.5 + 1.5 * 0.25)
    assert values[2] == pytest.approx(0.5 + 1.5 / math.e, abs=1e-3)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("kind", EXPERTS)
def test_expert_reset_draws_new_weights(kind: type[Expert], norm: bool) -> None:
    expert = kind(4, heads=2, norm=norm)
    drawn = [p for p in expert.parameters() if p.dim() > 1]  # biases start at fixed values
    before = [parameter.clone() for parameter in drawn]
    if expert.norm is not None:
        torch.nn.init.constant_(expert.norm.weight, 3.0)
        torch.nn.init.constant_(expert.norm.bias, 3.0)
    expert.reset_parameters()
    assert not any(torch.equal(a, b) for a, b in zip(before, drawn, strict=True))
    if expert.norm is not None:
        assert torch.equal(expert.norm.weight, torch.ones(4))
        assert torch.equal(expert.norm.bias, torch.zeros(4))


def test_expert_rejects_heads_that_do_not_divide_channels() -> None:
    with pytest.raises(ValueError, match=r"heads: expected a divisor of channels \(4\), got 3"):
        LocalExpert(4, heads=3)


def test_edge_weights_transfer_between_cube_sizes() -> None:
    """The same offset at the same relative distance weighs the same in another cube."""
    small = LatticeGraph.build(small_lattice())
    large = LatticeGraph.build(small_lattice(dimensions=(5, 6, 7)))
    expert = FunctionalExpert(4, heads=2)
    weights = []
    for graph in (small, large):
        offset = (graph.offsets_O3 == torch.tensor([1, 0, -1])).all(1)
        weights.append(expert.edge_weights(graph.offset_attr_O4[offset]))
    torch.testing.assert_close(weights[0], weights[1])


def test_edge_weights_fit_starts_one_offset_at_one() -> None:
    graph = LatticeGraph.build(small_lattice())
    mine = graph.offset_type_O == 1
    attr = graph.offset_attr_O4[mine]
    wanted = torch.zeros(attr.shape[0], 2)
    wanted[2] = torch.tensor([1.0, -0.5])
    net = FunctionalExpert(4, heads=2, edge_hidden=32).edge_weights
    net.fit(attr, wanted)
    torch.testing.assert_close(net(attr), wanted, atol=0.05, rtol=0)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_local_expert_without_neighbours_is_one_linear_map(heads: int) -> None:
    """Taken into a map of the state, it is what it is edge by edge; with its gradients."""
    expert, cells = LocalExpert(4, heads=heads).double(), 5
    attr = torch.zeros(1, 4, dtype=torch.float64)
    x = torch.randn(cells, 4, dtype=torch.float64)
    neighbourhood = SelfNeighbourhood(attr, cells, heads)
    weights = neighbourhood.prepare(
        neighbourhood.scaled(expert.edge_weights(attr, neighbourhood.neighbours))
    )
    kernel = LocalKernel()
    assert kernel.is_linear(expert, self_only=True)
    ((weight, bias),) = kernel.maps(expert, neighbourhood, weights)
    assert bias is None
    inside = (weight @ x.t()).t()
    loops = torch.arange(cells).expand(2, -1)
    alone = expert(x, loops, attr.expand(cells, -1))
    torch.testing.assert_close(inside, alone, rtol=0, atol=1e-12)
    gradients = [
        torch.autograd.grad(y.square().sum(), list(expert.parameters())) for y in (inside, alone)
    ]
    for got, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [FunctionalExpert, DistantExpert])
def test_transport_start_leaves_little_of_the_random_part(kind: type[Expert]) -> None:
    """The value starts near the identity, nearest in the channels that carry the surface."""
    expert = kind(6, heads=2)
    assert expert.value_map is not None
    random_CC = 0.3 * expert.value_map.weight.detach().clone()
    random_CC[:2] *= SURFACE_SHARE
    expert.start_transport(torch.rand(5, 4), torch.rand(5), 2, 0.2)
    torch.testing.assert_close(expert.value_map.weight.detach(), random_CC + torch.eye(6))


def test_functional_expert_starts_open_and_its_candidate_small() -> None:
    expert = FunctionalExpert(6, heads=2)
    assert expert.from_state.bias is not None
    assert torch.equal(expert.from_state.bias[:6].detach(), torch.full((6,), GATE_START))
    before_CC = expert.candidate.weight.detach().clone()
    expert.start_transport(torch.rand(5, 4), torch.rand(5), 2, 0.2)
    before_CC[:2] *= SURFACE_SHARE
    assert torch.equal(expert.candidate.weight.detach(), before_CC)


def test_functional_expert_starts_with_candidates_of_unit_size() -> None:
    """States and sums of variance 1 give an argument of silu of variance 1, and gates near open."""
    expert = FunctionalExpert(256, heads=1)
    x_CM, m_CM = torch.randn(2, 256, 512).unbind(0)
    with torch.no_grad():
        gate, hidden = expert.from_sum(m_CM, plus_KM=expert.from_state(x_CM)).chunk(2)
    assert float(hidden.std()) == pytest.approx(1.0, abs=0.06)
    assert float(gate.std()) == pytest.approx(0.2, abs=0.02)
    assert float(gate.mean()) == pytest.approx(GATE_START, abs=0.02)
