"""Both orders of the columns hold the same states, whatever the numbering of the cells."""

from __future__ import annotations

import pytest
import torch

from latticegraph.aggregation import Cells
from latticegraph.aggregation.layout import Layout, map_cells, repeat_columns
from latticegraph.config import LatticeSettings
from latticegraph.lattice import LatticeGraph

CHANNELS, CELLS, BATCH = 2, 60, 3
ORDERS = pytest.mark.parametrize("samples_inner", [True, False], ids=["N B", "B N"])
NUMBERINGS = pytest.mark.parametrize("numbering", ["row_major", "morton"])


def graph_of(numbering: str) -> LatticeGraph:
    settings = {"dimensions": (3, 4, 5), "adaptive_radius_min": 1.6, "numbering": numbering}
    return LatticeGraph.build(LatticeSettings.model_validate(settings))


def layout_of(numbering: str, samples_inner: bool) -> Layout:
    graph = graph_of(numbering)
    return Layout(graph, Cells(graph), samples_inner)


def states() -> torch.Tensor:
    return torch.randn(CHANNELS, CELLS, BATCH, dtype=torch.float64)


@ORDERS
@NUMBERINGS
def test_columns_are_the_states_in_the_order_that_the_sum_needs(
    numbering: str, samples_inner: bool
) -> None:
    layout, x_CNB = layout_of(numbering, samples_inner), states()
    x_CM = layout.columns(x_CNB)
    assert x_CM.shape == (CHANNELS, CELLS * BATCH)
    number_N = graph_of(numbering).number_N
    for place, number in enumerate(number_N.tolist()):
        for sample in range(BATCH):
            column = number * BATCH + sample if samples_inner else sample * CELLS + place
            assert torch.equal(x_CM[:, column], x_CNB[:, number, sample])
    assert torch.equal(layout.states(x_CM), x_CNB)
    assert layout.per_sample(x_CM).shape[layout.cell_axis] == CELLS


@ORDERS
@NUMBERINGS
def test_sums_over_samples_are_by_cell_number_with_their_gradient(
    numbering: str, samples_inner: bool
) -> None:
    layout, x_CNB = layout_of(numbering, samples_inner), states()
    weight_B = torch.tensor([0.5, 0.0, 2.0], dtype=torch.float64)
    factor_CN = torch.randn(CHANNELS, CELLS, dtype=torch.float64)
    for weight, used_B in ((None, torch.ones(BATCH).double()), (weight_B, weight_B)):
        x_CM = layout.columns(x_CNB).requires_grad_()
        total_CN = layout.over_samples(x_CM, weight)
        torch.testing.assert_close(total_CN, (x_CNB * used_B).sum(2))
        (total_CN * factor_CN).sum().backward()
        assert x_CM.grad is not None
        torch.testing.assert_close(layout.states(x_CM.grad), factor_CN[:, :, None] * used_B)


@ORDERS
@NUMBERINGS
def test_maps_of_cells_use_the_weights_of_each_cell(numbering: str, samples_inner: bool) -> None:
    layout, x_CNB = layout_of(numbering, samples_inner), states()
    weight_NKC = torch.randn(CELLS, 4, CHANNELS, dtype=torch.float64)
    bias_NK = torch.randn(CELLS, 4, dtype=torch.float64)
    expected = torch.einsum("nkc,cnb->knb", weight_NKC, x_CNB) + bias_NK.t()[:, :, None]
    torch.testing.assert_close(map_cells(weight_NKC, bias_NK, x_CNB), expected)
    found = layout.map_cells(weight_NKC, bias_NK, layout.columns(x_CNB))
    torch.testing.assert_close(layout.states(found), expected)


@NUMBERINGS
def test_layout_moves_to_a_device(numbering: str) -> None:
    layout = layout_of(numbering, samples_inner=False)
    layout.to(torch.device("meta"))
    moved = numbering == "morton"
    assert layout.columns(torch.empty(1, CELLS, 2, device="meta")).shape == (1, 120)
    assert (layout._number_N is not None) == moved
    if layout._number_N is not None and layout._place_N is not None:
        assert layout._number_N.device.type == layout._place_N.device.type == "meta"


@pytest.mark.parametrize(
    ("inner", "expected"), [(True, [1.0, 1.0, 2.0, 2.0]), (False, [1.0, 2.0, 1.0, 2.0])]
)
def test_columns_are_repeated_beside_themselves_or_as_a_whole(
    inner: bool, expected: list[float]
) -> None:
    assert repeat_columns(torch.tensor([[1.0, 2.0]]), 2, inner).tolist() == [expected]
