"""Smoothness of the final states over the real edges of the graph.

Legend: B batch, N cells, C channels, K = C B columns, E edges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from latticegraph.aggregation import (
    Backend,
    Cells,
    Layout,
    Neighbourhood,
    PreparedWeights,
    make_neighbourhood,
)
from latticegraph.lattice.edge_types import EdgeType
from latticegraph.lattice.graph import LatticeGraph
from latticegraph.losses.term import LossTerm
from latticegraph.model.output import StudentOutput


class SpatialLoss(LossTerm):
    r"""Rayleigh quotient of the graph Laplacian, over functional and distant edges.

    With the degree-weighted mean over cells removed from each channel of each sample (a constant
    would otherwise pass for smoothness), d the degrees and A the adjacency without self edges:

    .. math::
        L = \frac{\sum_{(i,j) \in E} |x_i - x_j|^2}{2 \sum_i d_i |x_i|^2}
          = \frac{\sum_i d_i |x_i|^2 - \sum_i x_i \cdot (A x)_i}{\sum_i d_i |x_i|^2},
        \qquad 0 \le L \le 2

    About 1 for states that are independent from cell to cell, near 0 for states that vary slowly,
    above 1 for checkerboards; 0 when all cells are equal. The scale of the states does not matter.
    One sum over neighbours with all weights 1, and no [E, B, C] tensor. (Chung, Spectral Graph
    Theory, 1997, section 1.2.)

    Args:
        graph: the lattice; its functional and distant edges run both ways.
        backend: how the sum over neighbours is computed.
        cells: which cells this process holds; None: all.
    """

    reads: ClassVar = ("states_CNB",)
    sums_over_processes: ClassVar = True
    stays_positive: ClassVar = True

    degree_N: Tensor
    ones_O1: Tensor

    def __init__(
        self, graph: LatticeGraph, backend: Backend = "spmm", cells: Cells | None = None
    ) -> None:
        super().__init__()
        kinds = [EdgeType.FUNCTIONAL, EdgeType.DISTANT]
        self.cells = Cells(graph) if cells is None else cells
        self.neighbourhood = make_neighbourhood(graph, kinds, 1, backend, self.cells)
        self.layout = Layout(graph, self.cells, self.neighbourhood.samples_inner)
        ones_O1 = torch.ones(self.neighbourhood.edge_attr_O4.shape[0], 1, dtype=torch.float64)
        one_N = torch.ones(1, self.neighbourhood.num_cells, dtype=torch.float64)
        degree_1N = self.neighbourhood.sum(one_N, self.neighbourhood.prepare(ones_O1))
        self.register_buffer("degree_N", degree_1N[0].round().float(), persistent=False)
        self.total_degree = float(self._sum(self.degree_N.double(), 0))
        self.register_buffer("ones_O1", ones_O1.float(), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SpatialLoss:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.neighbourhood.to(self.degree_N.device, self.degree_N.dtype)
        self.layout.to(self.degree_N.device)
        return self

    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch; it does not depend on ``target_BD``.

        Shapes:
            output.states_CNB: [C, N, B]; result: scalar.
        """
        x_CNB = output.states_CNB
        x_CNB = x_CNB.to(torch.promote_types(x_CNB.dtype, torch.float32))
        if self.neighbourhood.samples_inner:  # every channel of every sample beside each other
            x = x_CNB.transpose(0, 1).flatten(1)[None]
            axis, degree = 1, self.degree_N[:, None].to(x.dtype)
        else:
            x = self.layout.columns(x_CNB).unflatten(1, (-1, len(self.degree_N)))
            axis, degree = 2, self.degree_N.to(x.dtype)
        with torch.no_grad():
            mean = self._sum(degree * x, axis) / self.total_degree
            ones = self.neighbourhood.prepare(self.ones_O1.to(x.dtype))
        sums: Tensor = _Energies.apply(x, mean, degree, self.neighbourhood, ones)  # type: ignore[no-untyped-call]
        energy, smooth, floor = self.reduce(sums)
        quotient: Tensor
        quotient = (energy - smooth) / energy.maximum(floor).clamp_min(torch.finfo(x.dtype).tiny)
        return quotient

    def _sum(self, value: Tensor, axis: int) -> Tensor:
        """The sum over cells, those of all slabs."""
        return self.cells.sum(value.sum(axis, keepdim=True))


class _Energies(torch.autograd.Function):
    r"""``sum d x^2`` and ``sum x A x`` of centred states, and the smallest energy to divide by.

    A is symmetric, so that the gradient needs no further sum over neighbours. The centring has no
    part in it: ``sum over i of d_i x_i`` and of ``(A x)_i`` are 0 once x is centred.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        mean: Tensor,
        degree: Tensor,
        neighbourhood: Neighbourhood,
        ones: PreparedWeights,
    ) -> Tensor:
        x = x - mean
        weighted, summed = degree * x, neighbourhood.sum(x.flatten(1), ones).view_as(x)
        ctx.save_for_backward(weighted, summed)
        energy, smooth = (weighted * x).sum(), (summed * x).sum()
        # Below a millionth of the uncentred energy there is only rounding left to divide by.
        floor = 1e-6 * (energy + (degree * mean.square()).sum())
        return torch.stack([energy, smooth, floor])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weighted, summed = ctx.saved_tensors
        of_energy, of_smooth, _ = 2 * grads[0]
        return torch.addcmul(weighted * of_energy, summed, of_smooth), None, None, None, None
