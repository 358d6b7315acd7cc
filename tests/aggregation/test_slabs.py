"""Sums on slabs against the sum on the whole lattice; threads stand for the processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from torch import Tensor

from latticegraph.aggregation import (
    Aggregation,
    Cells,
    SlabCells,
    SparseNeighbourhood,
    Stencil,
    make_neighbourhood,
)
from latticegraph.aggregation.convolution import ConvolutionNeighbourhood, PairNeighbourhood
from latticegraph.aggregation.fourier import GridNeighbourhood
from latticegraph.aggregation.neighbourhood import Neighbourhood, SelfNeighbourhood
from latticegraph.aggregation.slab_neighbourhood import SlabNeighbourhood
from latticegraph.config import LatticeSettings
from latticegraph.distributed import Processes
from latticegraph.lattice import EdgeType, LatticeGraph

GRAPH = LatticeGraph.build(LatticeSettings(dimensions=(9, 4, 5), adaptive_radius_min=2.0))
STENCIL = Stencil(GRAPH.offsets_O3, (9, 4, 5), False)
CHANNELS, HEADS, BATCH = 4, 2, 3


class Exchange:
    """What ``swap`` does, between threads."""

    def __init__(self, size: int) -> None:
        self.sent: dict[int, tuple[Tensor, Tensor]] = {}
        self.barrier = Barrier(size, timeout=20)

    def __call__(
        self, to_before: Tensor, to_after: Tensor, processes: Processes
    ) -> tuple[Tensor, Tensor]:
        rank, last = processes.rank, processes.size - 1
        self.sent[rank] = (to_before.clone(), to_after.clone())
        self.barrier.wait()
        before = self.sent[rank - 1][1] if rank > 0 else to_after[:0]
        after = self.sent[rank + 1][0] if rank < last else to_before[:0]
        self.barrier.wait()
        return before, after


def planes_of(x_CBXP: Tensor, cells: SlabCells) -> Tensor:
    return x_CBXP[:, :, cells.first : cells.end]


@pytest.mark.parametrize("size", [2, 3, 4])
def test_slabs_sum_what_the_whole_lattice_sums(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = Exchange(size)
    monkeypatch.setattr("latticegraph.aggregation.slab_neighbourhood.swap", exchange)
    x_CBXP = torch.randn(CHANNELS, BATCH, 9, 20, dtype=torch.float64)
    wanted_CBXP = torch.randn(CHANNELS, BATCH, 9, 20, dtype=torch.float64)
    weight_OH = torch.randn(len(GRAPH.offsets_O3), HEADS, dtype=torch.float64)

    whole = GridNeighbourhood(STENCIL, GRAPH.offset_attr_O4, HEADS)
    x_CM = x_CBXP.reshape(CHANNELS, -1).clone().requires_grad_()
    weights = weight_OH.clone().requires_grad_()
    summed = whole.sum(x_CM, whole.prepare(weights)).view_as(x_CBXP)
    (summed * wanted_CBXP).sum().backward()
    assert x_CM.grad is not None
    assert weights.grad is not None

    def one(rank: int) -> tuple[SlabCells, Tensor, Tensor | None, Tensor | None]:
        cells = SlabCells(GRAPH, Processes(rank, size))
        slab = SlabNeighbourhood(STENCIL, GRAPH.offset_attr_O4, HEADS, cells)
        torch.testing.assert_close(
            slab.largest_sum(weight_OH.abs()), whole.largest_sum(weight_OH.abs())
        )
        own = planes_of(x_CBXP, cells).reshape(CHANNELS, -1).clone().requires_grad_()
        of_slab = weight_OH.clone().requires_grad_()
        found = slab.sum(own, slab.prepare(of_slab))
        (found.view(CHANNELS, BATCH, -1, 20) * planes_of(wanted_CBXP, cells)).sum().backward()
        return cells, found.detach(), own.grad, of_slab.grad

    with ThreadPoolExecutor(size) as pool:
        parts = list(pool.map(one, range(size)))
    close = {"rtol": 1e-10, "atol": 1e-10}
    for cells, found, grad, _ in parts:
        assert grad is not None
        shape = (CHANNELS, BATCH, cells.end - cells.first, 20)
        torch.testing.assert_close(found.view(shape), planes_of(summed.detach(), cells), **close)
        expected = planes_of(x_CM.grad.view_as(x_CBXP), cells)
        torch.testing.assert_close(grad.view(shape), expected, **close)
    total = sum(of_slab for *_, of_slab in parts if of_slab is not None)
    torch.testing.assert_close(total, weights.grad, **close)


def test_the_neighbourhood_of_a_slab_is_one_and_no_cells_means_all() -> None:
    def made(kind: EdgeType, cells: SlabCells | None) -> Neighbourhood:
        return make_neighbourhood(GRAPH, [kind], HEADS, "spmm", cells)

    slab = SlabCells(GRAPH, Processes(1, 2))
    assert type(made(EdgeType.FUNCTIONAL, slab)) is SlabNeighbourhood
    assert type(made(EdgeType.FUNCTIONAL, None)) is SparseNeighbourhood
    for cells, held in ((slab, slab.num_cells), (None, 180)):
        own = made(EdgeType.LOCAL, cells)
        assert type(own) is SelfNeighbourhood
        assert own.num_cells == held


def test_edges_of_equal_offset_share_their_weights_unless_asked() -> None:
    sets = [(EdgeType.LOCAL,), (EdgeType.FUNCTIONAL, EdgeType.DISTANT)]
    usual = Aggregation(GRAPH, sets, (1, HEADS), "spmm", Cells(GRAPH))
    assert usual.by_edge == (False, False)
    assert sum(len(types_O) for types_O in usual.row_types) == len(GRAPH.offsets_O3)
    apart = Aggregation(GRAPH, sets, (1, HEADS), "spmm", Cells(GRAPH), (False, True))
    assert len(apart.row_types[1]) == GRAPH.num_edges - 180  # all but the self-edges


@pytest.mark.parametrize("radius", [1.6, 5.0])
def test_convolution_takes_no_weights_of_single_edges(radius: float) -> None:
    """Whether its kernel has fewer places than there are cells, or more."""
    settings = LatticeSettings(dimensions=(4, 4, 5), adaptive_radius_min=radius)
    graph = LatticeGraph.build(settings)
    kinds = [kind for kind in EdgeType if (graph.offset_type_O == int(kind)).any()]
    shared = make_neighbourhood(graph, kinds, 2, "conv3d")
    assert isinstance(shared, ConvolutionNeighbourhood) == (radius < 2)
    apart = make_neighbourhood(graph, kinds, 2, "conv3d", by_edge=True)
    assert isinstance(apart, PairNeighbourhood)
