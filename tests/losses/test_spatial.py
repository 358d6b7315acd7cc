from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from latticegraph.aggregation import BACKENDS, Backend
from latticegraph.config import LatticeSettings
from latticegraph.lattice import LatticeGraph
from latticegraph.losses import SpatialLoss
from latticegraph.model.output import StudentOutput

MakeOutput = Callable[..., StudentOutput]

NO_TARGET = torch.zeros(2, 3)


def path_graph(cells: int = 3) -> LatticeGraph:
    """A path 0 - 1 - 2 of functional edges, with a self edge of the local type per cell."""
    plain = LatticeSettings(adaptive_radius_ratio=0.1, adaptive_radius_min=1.6)
    # Settings refuse sides of one cell; nothing below them does.
    graph = LatticeGraph(plain.model_copy(update={"dimensions": (cells, 1, 1)}))
    assert graph.edge_type_E.bincount().tolist() == [cells, 2 * (cells - 1)]
    return graph


def cube() -> LatticeGraph:
    return LatticeGraph.build(LatticeSettings(dimensions=(3, 4, 5), adaptive_radius_ratio=0.4))


def boxes() -> list[LatticeGraph]:
    """Open and periodic boxes, either numbering, one too thin for its edges."""
    changes: list[dict[str, Any]] = [
        {"dimensions": (3, 4, 5)},
        {"dimensions": (3, 4, 5), "numbering": "morton"},
        {"dimensions": (4, 5, 6), "boundary": "periodic", "numbering": "morton"},
        {"dimensions": (2, 2, 7)},
        {"dimensions": (4, 5, 3), "local_distance_ratio": 0.5},
    ]
    near = {"adaptive_radius_min": 2.3}
    return [LatticeGraph.build(LatticeSettings.model_validate(near | c)) for c in changes]


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
@pytest.mark.parametrize("backend", BACKENDS)
def test_spatial_hand_computed(
    make_output: MakeOutput, states: list[float], expected: float, backend: Backend
) -> None:
    output = make_output(states_CNB=torch.tensor(states)[None, :, None])
    loss = SpatialLoss(path_graph(), backend)(output, NO_TARGET)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("graph", [cube(), *boxes()], ids=lambda g: str(g.settings.dimensions))
def test_spatial_equals_naive_loop(
    make_output: MakeOutput, graph: LatticeGraph, backend: Backend
) -> None:
    """With the gradient; in single precision nearly."""
    generator = torch.Generator().manual_seed(0)
    x_CNB = torch.randn(2, graph.num_cells, 3, generator=generator, dtype=torch.float64) + 4
    x_CNB.requires_grad_()
    loss = SpatialLoss(graph, backend)(make_output(states_CNB=x_CNB), NO_TARGET)
    expected = naive(graph, x_CNB)
    torch.testing.assert_close(loss, expected)
    (grad,), (wanted,) = (torch.autograd.grad(value, x_CNB) for value in (loss, expected))
    torch.testing.assert_close(grad, wanted, rtol=0, atol=1e-12)
    single = SpatialLoss(graph, backend)(make_output(states_CNB=x_CNB.float()), NO_TARGET)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), loss, rtol=1e-5, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_spatial_takes_rounding_around_a_constant_for_none(
    make_output: MakeOutput, backend: Backend
) -> None:
    """Noise of a ten-millionth is no roughness; of a hundredth it is."""
    noise = torch.randn(2, 60, 3, generator=torch.Generator().manual_seed(0))
    loss = SpatialLoss(cube(), backend)
    for size, least, most in ((1e-4, 0.0, 1e-6), (10.0, 0.8, 1.3)):
        value = loss(make_output(states_CNB=1000.1 + size * noise), NO_TARGET).item()
        assert least <= value <= most


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("graph", boxes(), ids=lambda g: str(g.settings.dimensions))
def test_spatial_counts_degrees_exactly(graph: LatticeGraph, backend: Backend) -> None:
    loss = SpatialLoss(graph, backend)
    source, target = graph.edge_index_2E[:, graph.edge_type_E > 0]
    degree_N = torch.bincount(target, minlength=graph.num_cells).float()
    assert torch.equal(torch.bincount(source, minlength=graph.num_cells).float(), degree_N)
    assert torch.equal(loss.layout.columns(degree_N[None, :, None])[0], loss.degree_N)


@pytest.mark.parametrize("backend", BACKENDS)
def test_spatial_takes_short_states(make_output: MakeOutput, backend: Backend) -> None:
    graph = cube()
    x_CNB = torch.randn(2, graph.num_cells, 3).bfloat16()
    loss = SpatialLoss(graph, backend)
    short = loss(make_output(states_CNB=x_CNB), NO_TARGET)
    assert short.dtype == torch.float32
    assert torch.equal(short, loss(make_output(states_CNB=x_CNB.float()), NO_TARGET))


@pytest.mark.parametrize("backend", BACKENDS)
def test_spatial_under_autocast_keeps_single_precision(
    make_output: MakeOutput, backend: Backend
) -> None:
    """Losses are computed inside it; the difference of two sums would lose most digits."""
    loss = SpatialLoss(cube(), backend)
    x_CNB = torch.randn(2, 60, 3, requires_grad=True)
    results = []
    for short in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=short):
            value = loss(make_output(states_CNB=x_CNB), NO_TARGET)
        results.append([value, *torch.autograd.grad(value, x_CNB)])
    for plain, under in zip(*results, strict=True):
        torch.testing.assert_close(under, plain, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_spatial_reduces_its_sums_before_it_divides(
    make_output: MakeOutput, backend: Backend
) -> None:
    """Two equal shares of a batch are one of them; two unlike ones are the quotient of the sums."""
    loss = SpatialLoss(cube(), backend)
    x_CNB = torch.randn(2, 60, 5, dtype=torch.float64) * torch.tensor([1.0, 1.0, 9.0, 9.0, 9.0])
    whole = loss(make_output(states_CNB=x_CNB), NO_TARGET)
    loss.reduce = lambda sums: 2 * sums
    torch.testing.assert_close(loss(make_output(states_CNB=x_CNB), NO_TARGET), whole)

    parts: list[torch.Tensor] = []
    for part in (x_CNB[..., :2], x_CNB[..., 2:]):
        loss.reduce = lambda sums: parts.append(sums) or sums  # type: ignore[func-returns-value]
        loss(make_output(states_CNB=part), NO_TARGET)
    loss.reduce = lambda sums: parts[0] + parts[1]
    torch.testing.assert_close(loss(make_output(states_CNB=x_CNB[..., :2]), NO_TARGET), whole)


def test_spatial_smooth_states_score_low_and_noise_near_one(make_output: MakeOutput) -> None:
    graph = cube()
    loss = SpatialLoss(graph)
    depth = graph.coordinates_N3[:, 2].double()
    slope = loss(make_output(states_CNB=depth[None, :, None]), NO_TARGET).item()
    noise = torch.randn(1, graph.num_cells, 400, generator=torch.Generator().manual_seed(0))
    assert slope < 0.45
    assert loss(make_output(states_CNB=noise), NO_TARGET).item() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("backend", BACKENDS)
def test_spatial_ignores_cell_numbering(make_output: MakeOutput, backend: Backend) -> None:
    settings = LatticeSettings(dimensions=(3, 4, 5), adaptive_radius_ratio=0.4)
    row_major = LatticeGraph.build(settings)
    morton = LatticeGraph.build(settings.model_copy(update={"numbering": "morton"}))
    place = {tuple(c): n for n, c in enumerate(row_major.coordinates_N3.tolist())}
    order = torch.tensor([place[tuple(c)] for c in morton.coordinates_N3.tolist()])
    assert not torch.equal(order, torch.arange(60))
    x_CNB = torch.randn(2, 60, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(
        SpatialLoss(morton, backend)(make_output(states_CNB=x_CNB[:, order]), NO_TARGET),
        SpatialLoss(row_major, backend)(make_output(states_CNB=x_CNB), NO_TARGET),
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_spatial_gradcheck(make_output: MakeOutput, backend: Backend) -> None:
    loss = SpatialLoss(path_graph(4), backend)
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 4, 2, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(make_output(states_CNB=x), NO_TARGET), states)


@pytest.mark.parametrize("backend", BACKENDS)
def test_spatial_gradient_at_equal_states_is_finite(
    make_output: MakeOutput, backend: Backend
) -> None:
    states = torch.ones(1, 3, 1, requires_grad=True)
    SpatialLoss(path_graph(), backend)(make_output(states_CNB=states), NO_TARGET).backward()
    assert states.grad is not None
    assert torch.isfinite(states.grad).all()


def test_spatial_keeps_nothing_in_checkpoints() -> None:
    assert SpatialLoss(path_graph()).state_dict() == {}
