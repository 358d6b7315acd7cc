"""The order of columns in which aggregation works.

Legend: C channels, N cells, B batch, M = N B columns, X experts.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from latticegraph.aggregation.cells import Cells
from latticegraph.aggregation.opaque import opaque
from latticegraph.lattice import LatticeGraph


def _repeated(value_RK: Tensor, times: int, inner: bool) -> Tensor:
    return value_RK.new_empty(value_RK.shape[0], value_RK.shape[1] * times)


# The compiler, if it saw through this, would look the values up one by one wherever they are used.
@opaque(_repeated)
def repeat_columns(value_RK: Tensor, times: int, inner: bool) -> Tensor:
    """Every column ``times`` times: beside itself (``inner``), or all of them one after another."""
    return value_RK.repeat_interleave(times, 1) if inner else value_RK.repeat(1, times)


class _SumOverSamples(torch.autograd.Function):
    """(X, N, B) or (X, B, N) to (X, N)."""

    @staticmethod
    def forward(ctx: Any, grid: Tensor, samples_inner: bool) -> Tensor:
        ctx.shape, ctx.samples_inner = grid.shape, samples_inner
        return grid.sum(-1 if samples_inner else -2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        samples = ctx.shape[-1 if ctx.samples_inner else -2]
        return repeat_columns(grads[0], samples, ctx.samples_inner).view(ctx.shape), None


class CellMaps(Protocol):
    """What an expert with weights for every cell needs: which columns belong to which cell."""

    def map_cells(self, weight_NKC: Tensor, bias_NK: Tensor, x_CM: Tensor) -> Tensor:
        """``y[k, i, b] = sum over c of weight[i, k, c] x[c, i, b] + bias[i, k]``.

        Shapes:
            (N, K, C), (N, K), (C, M) -> (K, M)
        """


def map_cells(weight_NKC: Tensor, bias_NK: Tensor, x_CNB: Tensor) -> Tensor:
    """As in :class:`CellMaps`, (C, N, B) -> (K, N, B); in the precision of ``x_CNB``."""
    weight_NKC, bias_NK = weight_NKC.to(x_CNB.dtype), bias_NK.to(x_CNB.dtype)
    return torch.baddbmm(bias_NK[:, :, None], weight_NKC, x_CNB.transpose(0, 1)).transpose(0, 1)


class Layout:
    """States as a matrix of channels and columns, in the order that aggregation needs.

    A sparse product reads the samples of a cell side by side, (N, B); a convolution reads the cells
    of a sample side by side in row-major order, (B, N). Linear maps of the channels work with
    either. The order changes once per rollout, not once per step.

    Args:
        graph: the lattice.
        cells: which cells this process holds.
        samples_inner: True for (N, B).
    """

    def __init__(self, graph: LatticeGraph, cells: Cells, samples_inner: bool) -> None:
        self.samples_inner = samples_inner
        self.num_cells = cells.num_cells
        permuted = not samples_inner and graph.settings.numbering != "row_major"
        self._number_N = graph.number_N if permuted else None
        self._place_N = torch.argsort(graph.number_N) if permuted else None

    def to(self, device: torch.device) -> None:
        """Move index tensors to ``device`` (in place)."""
        if self._number_N is not None and self._place_N is not None:
            self._number_N, self._place_N = self._number_N.to(device), self._place_N.to(device)

    def columns(self, x_CNB: Tensor) -> Tensor:
        """States as (C, M)."""
        if self.samples_inner:
            return x_CNB.flatten(1)
        if self._number_N is not None:
            x_CNB = x_CNB.index_select(1, self._number_N)
        return x_CNB.transpose(1, 2).flatten(1)

    def states(self, x_CM: Tensor) -> Tensor:
        """Columns as (C, N, B); with samples outside, a view whose cells lie side by side."""
        if self.samples_inner:
            return self.per_sample(x_CM)
        return self._numbered(self.per_sample(x_CM).transpose(1, 2), 1)

    def map_cells(self, weight_NKC: Tensor, bias_NK: Tensor, x_CM: Tensor) -> Tensor:
        """As in :class:`CellMaps`."""
        return self.columns(map_cells(weight_NKC, bias_NK, self.states(x_CM)))

    def per_sample(self, value_CM: Tensor) -> Tensor:
        """A view (C, N, B) or (C, B, N), to reduce over cells along :attr:`cell_axis`."""
        return value_CM.view(*value_CM.shape[:-1], *self.shape)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, -1) or (-1, N), as which columns can be viewed."""
        return (self.num_cells, -1) if self.samples_inner else (-1, self.num_cells)

    @property
    def cell_axis(self) -> int:
        """Axis of the cells in :meth:`per_sample`."""
        return -2 if self.samples_inner else -1

    def over_samples(self, value_XM: Tensor, weight_B: Tensor | None) -> Tensor:
        """Sum over samples, each with its weight (None: 1), by cell number, (X, N)."""
        grid = self.per_sample(value_XM)
        if weight_B is not None:
            grid = grid * self.spread(weight_B)
        total_XN: Tensor = _SumOverSamples.apply(grid, self.samples_inner)  # type: ignore[no-untyped-call]
        return self._numbered(total_XN, 1)

    def spread(self, value_B: Tensor) -> Tensor:
        """A view of per-sample values that broadcasts against :meth:`per_sample`."""
        return value_B if self.samples_inner else value_B[:, None]

    def _numbered(self, value: Tensor, axis: int) -> Tensor:
        """Row-major order of cells to the order of their numbers."""
        return value if self._place_N is None else value.index_select(axis, self._place_N)
