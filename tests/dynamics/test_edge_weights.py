"""Bumps, which single out one neighbour among hundreds, and the transport that needs them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from latticegraph.config import LatticeSettings
from latticegraph.dynamics.edge_weights import EdgeWeights
from latticegraph.dynamics.transport import carrying_offsets
from latticegraph.lattice import EdgeType, LatticeGraph
from latticegraph.model import Lattice3D
from tests.model.conftest import small_model


@pytest.fixture(scope="module")
def graph_27() -> LatticeGraph:
    return LatticeGraph.build(LatticeSettings(dimensions=(27, 27, 27)))


def fitted(graph: LatticeGraph, wanted_O: Tensor, bumps: int) -> tuple[Tensor, Tensor]:
    """Weights of distant offsets fitted to what is wanted, (O, H), and the latter, (O,)."""
    mine = graph.offset_type_O == int(EdgeType.DISTANT)
    attr_O4, wanted_O = graph.offset_attr_O4[mine], wanted_O[mine]
    assert len(wanted_O) > 350
    weights = EdgeWeights(4, 16, bumps=bumps)
    weights.place_bumps(attr_O4, wanted_O, 1 / graph.settings.max_radius)
    weights.fit(attr_O4, wanted_O[:, None].expand(-1, 4))
    return weights(attr_O4, len(attr_O4)).detach(), wanted_O


def only(graph: LatticeGraph, offset: tuple[int, int, int]) -> Tensor:
    """1 for one offset, 0 for all others."""
    return (graph.offsets_O3 == torch.tensor(offset)).all(1).float()


@pytest.mark.parametrize("offset", [(-5, 0, 0), (-4, 0, 0), (3, -2, 2)])
def test_bumps_single_out_one_of_hundreds_of_neighbours(
    graph_27: LatticeGraph, offset: tuple[int, int, int]
) -> None:
    weight_OH, wanted_O = fitted(graph_27, only(graph_27, offset), bumps=2)
    assert int(wanted_O.sum()) == 1
    assert (weight_OH[wanted_O > 0] > 0.9).all()
    rest_OH = weight_OH[wanted_O == 0]
    assert rest_OH.sum(0).abs().max() < 0.1
    assert rest_OH.abs().sum(0).max() < 0.5


def test_no_smooth_function_singles_out_one_of_hundreds(graph_27: LatticeGraph) -> None:
    weight_OH, wanted_O = fitted(graph_27, only(graph_27, (-5, 0, 0)), bumps=0)
    assert (weight_OH[wanted_O > 0] < 0.5).all()


def test_two_bumps_share_what_two_strides_carry(graph_27: LatticeGraph) -> None:
    weight_OH, wanted_O = fitted(graph_27, carrying_offsets(graph_27, 6), bumps=2)
    assert int((wanted_O > 0).sum()) == 2
    torch.testing.assert_close(weight_OH, wanted_O[:, None].expand(-1, 4), rtol=0, atol=0.05)


def test_bumps_are_gaussians_around_their_centres() -> None:
    """By hand: along an axis, half a radius away; the last layer picks one bump."""
    weights = EdgeWeights(1, 3, bumps=2)
    assert weights.centre_K3 is not None
    assert weights.log_width_K is not None
    with torch.no_grad():
        weights.centre_K3.copy_(torch.tensor([[0.5, 0.0, 0.0], [9.0, 9.0, 9.0]]))
        weights.log_width_K.fill_(0.25).log_()
        weights.out.weight.zero_()
        weights.out.weight[0, 3] = 2.0
    # Relative distance, unit direction.
    attr_O4 = torch.tensor([[0.5, 1, 0, 0], [1.0, 1, 0, 0], [0.5, 0, 1, 0], [0.5, -1, 0, 0]])
    squared = torch.tensor([0.0, 0.25, 0.5, 1.0])
    wanted = 2 * torch.exp(-squared / (2 * 0.25**2))
    torch.testing.assert_close(weights(attr_O4)[:, 0], wanted)


def test_smooth_part_shrinks_with_the_neighbours_beyond_sixteen() -> None:
    """Bumps stay what they are: a single neighbour is theirs."""
    attr_O4 = torch.tensor([[0.5, 1, 0, 0], [1.0, 0, 1, 0]])
    plain, bumpy = EdgeWeights(2, 5), EdgeWeights(2, 5, bumps=1)
    with torch.no_grad():
        plain.out.bias.fill_(0.3)
        assert bumpy.centre_K3 is not None
        bumpy.out.weight[:, :5] = 0
    for few in (1, 16):
        assert torch.equal(plain(attr_O4, few), plain(attr_O4))
    torch.testing.assert_close(plain(attr_O4, 64), plain(attr_O4) / 4)
    torch.testing.assert_close(bumpy(attr_O4, 64), bumpy(attr_O4))


def test_bumps_lie_on_the_offsets_wanted_most(graph_27: LatticeGraph) -> None:
    attr_O4 = graph_27.offset_attr_O4
    cell = 1 / graph_27.settings.max_radius
    wanted_O = torch.zeros(len(attr_O4))
    wanted_O[7], wanted_O[200] = 0.3, 0.7
    weights = EdgeWeights(1, 4, bumps=2)
    weights.place_bumps(attr_O4, wanted_O, cell)
    assert weights.centre_K3 is not None
    assert weights.log_width_K is not None
    place_O3 = attr_O4[:, :1] * attr_O4[:, 1:]
    gap_KO = torch.cdist(weights.centre_K3.detach(), place_O3)
    assert gap_KO.argmin(1).tolist() == [200, 7]
    assert 0 < gap_KO[0, 200] < 0.2 * cell, "beside the offset, where gradients are not zero"
    assert (weights.log_width_K.exp() < 0.5 * cell).all()


def test_without_bumps_parameters_are_those_of_two_layers() -> None:
    shapes = {name: tuple(p.shape) for name, p in EdgeWeights(4, 16).named_parameters()}
    layers = {"lift.weight": (16, 7), "lift.bias": (16,), "out.weight": (4, 16), "out.bias": (4,)}
    assert shapes == layers
    torch.manual_seed(3)
    before = EdgeWeights(4, 16)
    torch.manual_seed(3)
    after = EdgeWeights(4, 16, bumps=0)
    after.place_bumps(torch.randn(5, 4), torch.ones(5), 0.2)
    for name, value in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], value)
    more = {name: tuple(p.shape) for name, p in EdgeWeights(4, 16, bumps=3).named_parameters()}
    assert more == layers | {"out.weight": (4, 19), "centre_K3": (3, 3), "log_width_K": (3,)}


@pytest.mark.parametrize("backend", ["spmm", "fft", "scatter"])
@pytest.mark.parametrize("init", ["transport", "random"])
def test_bumps_of_every_expert_have_gradients(backend: str, init: str) -> None:
    settings = LatticeSettings(dimensions=(6, 4, 4), adaptive_radius_min=2.5)
    model = small_model(
        aggregation=backend,
        messages={"heads": 2, "edge_hidden": 8, "bumps": 2},
        init={"init_method": init},
    )
    graph = LatticeGraph.build(settings)
    lattice = Lattice3D(model, graph).double()
    x_CNB = torch.randn(4, graph.num_cells, 2, dtype=torch.float64)
    lattice.rollout(x_CNB).states_CNB.square().mean().backward()
    found = {n: p.grad for n, p in lattice.named_parameters() if "centre" in n or "width" in n}
    assert len(found) == 6
    for name, grad in found.items():
        assert grad is not None, name
        assert grad.isfinite().all(), name
        # A lone self-edge has no place beside it, yet its bump has one.
        assert grad.any(), name


LONG = LatticeSettings(dimensions=(12, 3, 3), adaptive_radius_ratio=0.34)


def strides(graph: LatticeGraph, steps: int) -> dict[int, float]:
    """Cells towards the front and weight of every offset that carries."""
    weight_O = carrying_offsets(graph, steps)
    kept = weight_O > 0
    offsets = graph.offsets_O3[kept]
    assert (offsets[:, 1:] == 0).all()
    return dict(zip((-offsets[:, 0]).tolist(), weight_O[kept].tolist(), strict=True))


def test_strides_share_where_none_divides_the_depth() -> None:
    """Eleven planes: 4 steps of 2.75 on average; 11 steps of 1 divide it."""
    graph = LatticeGraph.build(LONG)
    assert strides(graph, 4) == pytest.approx({2: 0.25, 3: 0.75})
    assert strides(graph, 3) == pytest.approx({3: 1 / 3, 4: 2 / 3})
    assert strides(graph, 8) == pytest.approx({1: 5 / 8, 2: 3 / 8})
    assert strides(graph, 11) == {1: 1.0}
    for steps in range(3, 11):
        found = strides(graph, steps)
        assert sum(found.values()) == pytest.approx(1)
        assert sum(g * w for g, w in found.items()) * steps == pytest.approx(11)


def test_smallest_stride_that_divides_the_depth_carries_all(graph_27: LatticeGraph) -> None:
    """26 planes: 13 strides of 2 or 26 of 1; six steps take 4 and 5 in turns."""
    assert strides(graph_27, 13) == {2: 1.0}
    assert strides(graph_27, 6) == pytest.approx({4: 2 / 3, 5: 1 / 3})


def arrived(settings: LatticeSettings, steps: int, bumps: int, init: str) -> float:
    """What a signal of 1 on the front makes of the back, on average over four starts."""
    graph = LatticeGraph.build(settings)
    model = small_model(
        messages={"heads": 2, "edge_hidden": 8, "bumps": bumps},
        dynamics={"steps": steps, "min_steps": steps},
        init={"init_method": init},
    )
    x_CNB = torch.zeros(4, graph.num_cells, 1, dtype=torch.float64)
    y_CNB = x_CNB.clone()
    y_CNB[0, graph.input_cells] = 1.0
    found = []
    for seed in range(4):
        torch.manual_seed(seed)
        lattice = Lattice3D(model, graph).double()
        with torch.no_grad():
            moved = lattice.rollout(y_CNB).states_CNB - lattice.rollout(x_CNB).states_CNB
        found.append(float(moved[0, graph.output_cells].mean()))
    return sum(found) / len(found)


DEEP = LatticeSettings(dimensions=(27, 3, 3))


@pytest.mark.parametrize(("settings", "steps"), [(LONG, 3), (LONG, 6), (DEEP, 6)])
def test_signal_on_the_front_arrives_at_the_back_from_the_start(
    settings: LatticeSettings, steps: int
) -> None:
    """No stride divides the depth: two share it, and only some of the signal keeps time."""
    with_bumps = arrived(settings, steps, 2, "transport")
    assert with_bumps > 0.01
    assert with_bumps > 5 * abs(arrived(settings, steps, 0, "transport"))
    assert with_bumps > 20 * abs(arrived(settings, steps, 2, "random"))


def test_signal_crosses_where_strides_belong_to_two_experts() -> None:
    """Four steps: a quarter by the functional expert, the rest by the distant one."""
    assert arrived(LONG, 4, 2, "transport") > 0.005


def test_bumps_start_near_the_cell_and_about_a_third_of_the_radius_wide() -> None:
    weights = EdgeWeights(2, 4, bumps=500)
    assert weights.centre_K3 is not None
    assert weights.log_width_K is not None
    centre_K3 = weights.centre_K3.detach()
    assert 0.45 < float(centre_K3.max()) <= 0.5
    assert -0.5 <= float(centre_K3.min()) < -0.45
    assert torch.equal(weights.log_width_K.detach(), torch.full((500,), -1.0))


def test_smooth_weights_are_divided_by_what_exceeds_sixteen_neighbours() -> None:
    weights = EdgeWeights(2, 4)
    torch.nn.init.normal_(weights.out.bias)
    attr_O4 = torch.rand(5, 4)
    full = weights(attr_O4, 1).detach()
    for neighbours, share in ((0, 1), (16, 1), (17, 16 / 17), (64, 0.25)):
        torch.testing.assert_close(weights(attr_O4, neighbours).detach(), share * full)


@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_last_layer_starts_small_and_in_proportion_to_the_gain(gain: float) -> None:
    weights = EdgeWeights(64, 100, gain)
    assert float(weights.out.weight.detach().std()) == pytest.approx(0.015 * gain, rel=0.05)
    assert not weights.out.bias.any()
    assert float(weights.lift.weight.detach().std()) == pytest.approx(1.0, rel=0.1)
