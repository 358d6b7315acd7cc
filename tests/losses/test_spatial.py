from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from latticegraph.config import LatticeSettings
from latticegraph.lattice import LatticeGraph
from latticegraph.losses import SpatialLoss
from latticegraph.model.output import StudentOutput

MakeOutput = Callable[..., StudentOutput]

NO_TARGET = torch.zeros(2, 3)


def path_graph(cells: int = 3) -> LatticeGraph:
    """A path 0 - 1 - 2 of functional edges, with a self edge of the local type per cell."""
    pairs = [(j, i) for i in range(cells) for j in range(cells) if abs(i - j) <= 1]
    graph = SimpleNamespace(
        num_cells=cells,
        edge_index_2E=torch.tensor(pairs).T,
        offset_type_O=torch.tensor([1, 0, 1]),
        edge_offset_E=torch.tensor([j - i + 1 for j, i in pairs]),
    )
    return cast("LatticeGraph", graph)


def cube() -> LatticeGraph:
    return LatticeGraph.build(LatticeSettings(dimensions=(3, 4, 5), adaptive_radius_ratio=0.4))


def naive(graph: LatticeGraph, x_CNB: torch.Tensor) -> torch.Tensor:
    """The docstring's formula, edge by edge."""
    source, target = graph.edge_index_2E[:, graph.edge_type_E > 0]
    degree = torch.zeros(graph.num_cells, dtype=x_CNB.dtype)
    for cell in target.tolist():
        degree[cell] += 1
    mean = (x_CNB * degree[None, :, None]).sum(1, keepdim=True) / degree.sum()
    x_CNB = x_CNB - mean
    rough = torch.zeros((), dtype=x_CNB.dtype)
    for i, j in zip(target.tolist(), source.tolist(), strict=True):
        rough = rough + (x_CNB[:, i] - x_CNB[:, j]).square().sum()
    return rough / (2 * (degree[None, :, None] * x_CNB.square()).sum())


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        # degrees 1, 2, 1. Mean 0 already: edges differ by 1 and 1 -> 4 / (2 * 2)
        ([1.0, 0.0, -1.0], 1.0),
        # checkerboard, weighted mean 0: 4 directed edges of 4 -> 16 / (2 * 4)
        ([1.0, -1.0, 1.0], 2.0),
        # the same, shifted: only differences count
        ([8.0, 6.0, 8.0], 2.0),
        # (0, 0, 4): weighted mean 1 -> (-1, -1, 3); 2 * 16 / (2 * (1 + 2 + 9))
        ([0.0, 0.0, 4.0], 32 / 24),
        ([5.0, 5.0, 5.0], 0.0),
    ],
)
def test_spatial_hand_computed(
    make_output: MakeOutput, states: list[float], expected: float
) -> None:
    output = make_output(states_CNB=torch.tensor(states)[None, :, None])
    assert SpatialLoss(path_graph())(output, NO_TARGET).item() == pytest.approx(expected)


def test_spatial_equals_naive_loop(make_output: MakeOutput) -> None:
    graph = cube()
    generator = torch.Generator().manual_seed(0)
    x_CNB = torch.randn(2, graph.num_cells, 3, generator=generator, dtype=torch.float64) + 4
    loss = SpatialLoss(graph)(make_output(states_CNB=x_CNB), NO_TARGET)
    torch.testing.assert_close(loss, naive(graph, x_CNB))
    single = SpatialLoss(graph)(make_output(states_CNB=x_CNB.float()), NO_TARGET)
    torch.testing.assert_close(single.double(), loss, rtol=1e-5, atol=0)


def test_spatial_smooth_states_score_low_and_noise_near_one(make_output: MakeOutput) -> None:
    graph = cube()
    loss = SpatialLoss(graph)
    depth = graph.coordinates_N3[:, 2].double()
    slope = loss(make_output(states_CNB=depth[None, :, None]), NO_TARGET).item()
    noise = torch.randn(1, graph.num_cells, 400, generator=torch.Generator().manual_seed(0))
    assert slope < 0.45
    assert loss(make_output(states_CNB=noise), NO_TARGET).item() == pytest.approx(1.0, abs=0.05)


def test_spatial_ignores_cell_numbering(make_output: MakeOutput) -> None:
    settings = LatticeSettings(dimensions=(3, 4, 5), adaptive_radius_ratio=0.4)
    row_major = LatticeGraph.build(settings)
    morton = LatticeGraph.build(settings.model_copy(update={"numbering": "morton"}))
    place = {tuple(c): n for n, c in enumerate(row_major.coordinates_N3.tolist())}
    order = torch.tensor([place[tuple(c)] for c in morton.coordinates_N3.tolist()])
    assert not torch.equal(order, torch.arange(60))
    x_CNB = torch.randn(2, 60, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(
        SpatialLoss(morton)(make_output(states_CNB=x_CNB[:, order]), NO_TARGET),
        SpatialLoss(row_major)(make_output(states_CNB=x_CNB), NO_TARGET),
    )


def test_spatial_gradcheck(make_output: MakeOutput) -> None:
    loss = SpatialLoss(path_graph(4))
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 4, 2, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(make_output(states_CNB=x), NO_TARGET), states)


def test_spatial_gradient_at_equal_states_is_finite(make_output: MakeOutput) -> None:
    states = torch.ones(1, 3, 1, requires_grad=True)
    SpatialLoss(path_graph())(make_output(states_CNB=states), NO_TARGET).backward()
    assert states.grad is not None
    assert torch.isfinite(states.grad).all()


def test_spatial_keeps_nothing_in_checkpoints() -> None:
    assert SpatialLoss(path_graph()).state_dict() == {}
