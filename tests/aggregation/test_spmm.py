"""The sparse product against a loop over edges, its gradients, and its memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from latticegraph.aggregation import EdgeNeighbourhood, Neighbourhood, SparseNeighbourhood, spmm
from latticegraph.errors import GraphError

CHANNELS, CELLS, BATCH = 6, 7, 3


def random_graph(edges: int = 20, seed: int = 0) -> Tensor:
    """Distinct random edges; some cells have none."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(CELLS * (CELLS - 2), generator=generator)[:edges]
    return torch.stack([chosen % CELLS, chosen // CELLS])


def loop(values_CNB: Tensor, weight_EH: Tensor, edge_index_2E: Tensor) -> Tensor:
    """The definition, edge by edge and channel by channel."""
    out = torch.zeros_like(values_CNB)
    heads = weight_EH.shape[1]
    for e, (j, i) in enumerate(edge_index_2E.t().tolist()):
        for c in range(values_CNB.shape[0]):
            out[c, i] += weight_EH[e, c % heads] * values_CNB[c, j]
    return out


def sparse(edge_index_2E: Tensor, heads: int, cells: int = CELLS) -> SparseNeighbourhood:
    """Every edge with a weight of its own."""
    attr_E4 = torch.zeros(edge_index_2E.shape[1], 4)
    return SparseNeighbourhood(EdgeNeighbourhood(edge_index_2E, attr_E4, cells, heads))


def product(values_CM: Tensor, weight_OH: Tensor, neighbourhood: Neighbourhood) -> Tensor:
    return neighbourhood.sum(values_CM, neighbourhood.prepare(weight_OH))


@pytest.mark.parametrize("heads", [1, 2, 3, 6])
def test_spmm_equals_loop_over_edges(heads: int) -> None:
    edge_index = random_graph()
    values = torch.randn(CHANNELS, CELLS, BATCH, dtype=torch.float64)
    weight = torch.randn(edge_index.shape[1], heads, dtype=torch.float64)
    result = product(values.flatten(1), weight, sparse(edge_index, heads))
    expected = loop(values, weight, edge_index).flatten(1)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("heads", [1, 3])
def test_edges_that_share_a_weight_equal_loop_over_edges(fast: bool, heads: int) -> None:
    """Five offsets for twenty edges; nothing uses the last offset but one."""
    edge_index = random_graph()
    offset = torch.tensor([0, 1, 2, 4]).repeat(5)
    values = torch.randn(CHANNELS, CELLS, BATCH, dtype=torch.float64)
    weight = torch.randn(6, heads, dtype=torch.float64)
    edges = EdgeNeighbourhood(edge_index, torch.zeros(6, 4), CELLS, heads, offset)
    result = product(values.flatten(1), weight, SparseNeighbourhood(edges) if fast else edges)
    expected = loop(values, weight[offset], edge_index).flatten(1)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("heads", [1, 3])
def test_spmm_gradients_equal_numeric_ones(heads: int) -> None:
    edge_index = random_graph(9)
    neighbourhood = sparse(edge_index, heads)
    values = torch.randn(3, CELLS * 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(edge_index.shape[1], heads, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v, w: product(v, w, neighbourhood), (values, weight))


@pytest.mark.parametrize("heads", [1, 3])
def test_spmm_gradients_of_shared_weights_equal_numeric_ones(heads: int) -> None:
    """An offset without an edge, in between and at the end, has gradient zero."""
    edge_index, offset = random_graph(9), torch.tensor([0, 1, 3]).repeat(3)
    neighbourhood = SparseNeighbourhood(
        EdgeNeighbourhood(edge_index, torch.zeros(6, 4), CELLS, heads, offset)
    )
    values = torch.randn(3, CELLS * 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, heads, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda v, w: neighbourhood.sum(v, neighbourhood.prepare(w)), (values, weight)
    )
    neighbourhood.sum(values, neighbourhood.prepare(weight)).sum().backward()
    assert weight.grad is not None
    assert weight.grad.any(1).tolist() == [True, True, False, True, False, False]


def test_spmm_edge_order_changes_nothing() -> None:
    edge_index = random_graph()
    values = torch.randn(CHANNELS, CELLS * BATCH, dtype=torch.float64)
    weight = torch.randn(edge_index.shape[1], 2, dtype=torch.float64)
    order = torch.randperm(edge_index.shape[1])
    straight = product(values, weight, sparse(edge_index, 2))
    shuffled = product(values, weight[order], sparse(edge_index[:, order], 2))
    assert torch.equal(straight, shuffled)


def test_spmm_keeps_no_tensor_of_edges_times_batch_times_channels() -> None:
    """Count what autograd saves: nothing as large as E * B * C, in forward or backward."""
    cells, batch, channels = 40, 64, 8
    index = torch.arange(cells)
    edge_index = torch.stack(
        [index.repeat_interleave(cells), index.repeat(cells)]
    )  # complete graph
    neighbourhood = sparse(edge_index, channels, cells)
    values = torch.randn(channels, cells * batch, requires_grad=True)
    weight = torch.randn(cells * cells, channels, requires_grad=True)
    with torch.profiler.profile(profile_memory=True) as profile:
        product(values, weight, neighbourhood).sum().backward()
    largest = max(abs(event.self_cpu_memory_usage) for event in profile.events())
    assert 0 < largest < cells * cells * batch * channels * 4 / 8


@pytest.mark.parametrize("fast", [False, True])
def test_neighbourhood_bounds_the_sum_by_the_largest_value(fast: bool) -> None:
    edge_index = random_graph()
    neighbourhood = sparse(edge_index, 2) if fast else sparse(edge_index, 2).edges
    weight = neighbourhood.scaled(torch.randn(edge_index.shape[1], 2) * 10)
    into = torch.zeros(CELLS, 2).index_add(0, edge_index[1], weight.abs())
    torch.testing.assert_close(into.amax(0), torch.full((2,), 2.0))


@pytest.mark.parametrize("fast", [False, True])
def test_neighbourhood_leaves_small_weights_alone(fast: bool) -> None:
    edge_index = random_graph()
    neighbourhood = sparse(edge_index, 1) if fast else sparse(edge_index, 1).edges
    weight = torch.full((edge_index.shape[1], 1), 0.01)
    assert torch.equal(neighbourhood.scaled(weight), weight)


def test_neighbourhood_rejects_foreign_cells() -> None:
    edge_index = random_graph()
    attr = torch.zeros(edge_index.shape[1], 4)
    with pytest.raises(GraphError, match=r"edge_index: expected cells in 0\.\.2, got"):
        EdgeNeighbourhood(edge_index, attr, 3, 1)


def test_entries_are_counted_in_64_bits_only_where_32_do_not_suffice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row_E, col_E = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 0])
    crow, col, _ = spmm._compress(row_E, col_E, 3, 2)
    assert (crow.dtype, col.dtype) == (torch.int32, torch.int32)
    monkeypatch.setattr(spmm, "_INT32", 7)  # two heads of four edges are eight entries
    wide = spmm._compress(row_E, col_E, 3, 2)[:2]
    assert [part.dtype for part in wide] == [torch.int64] * 2
    assert torch.equal(wide[0], crow.long())
    assert torch.equal(wide[1], col.long())


def test_graph_of_one_cell_is_no_error() -> None:
    """Its only edge begins and ends in cell 0; an edge to cell 1 is one too far."""
    own = EdgeNeighbourhood(torch.tensor([[0], [0]]), torch.ones(1, 4), 1, 1)
    values = torch.tensor([[2.0, 3.0]])
    found = own.sum(values, own.prepare(torch.full((1, 1), 5.0)))
    assert torch.equal(found, 5 * values)
    with pytest.raises(GraphError, match=r"^edge_index: expected cells in 0\.\.0, got 1\.\.1"):
        EdgeNeighbourhood(torch.tensor([[1], [1]]), torch.ones(1, 4), 1, 1)
