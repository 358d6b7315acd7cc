"""Sum over neighbours as a product with a sparse matrix: exact, and no tensor per edge and channel.

Legend: C channels, H heads, J channels per head (C = J * H), N cells, B batch, M = N B columns, E
edges, O offsets.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from latticegraph.aggregation.opaque import opaque

_INT32 = 2**31 - 1
_TENSORS = (
    "crow",
    "col",
    "crow_t",
    "col_t",
    "offset_E",
    "offset_t_E",
    "offset_crow",
    "offset_col",
)


class SparsePattern:
    """Compressed rows of one edge set, repeated on the diagonal once per head, and its transpose.

    Args:
        edge_index_2E: source and target of each edge, in any order.
        num_cells: N.
        heads: H.
        edge_offset_E: row of the weights that each edge uses; None: edge e uses row e.

    The matrix of head h holds the weight of edge (j -> i) at row i, column j; all heads share the
    pattern, so the block diagonal matrix has H * N rows and H * E entries. Indices are 32-bit where
    they fit.

    Attributes:
        offset_E: row of the weights of each entry of one block, in the order of the matrix.
        offset_t_E: likewise of the transpose.
    """

    def __init__(
        self,
        edge_index_2E: Tensor,
        num_cells: int,
        heads: int,
        edge_offset_E: Tensor | None = None,
    ) -> None:
        self.num_cells = num_cells
        self.size = num_cells * heads
        source_E, target_E = edge_index_2E
        if edge_offset_E is None:
            edge_offset_E = torch.arange(source_E.numel(), device=source_E.device)
        self.crow, self.col, order = _compress(target_E, source_E, num_cells, heads)
        self.crow_t, self.col_t, order_t = _compress(source_E, target_E, num_cells, heads)
        self.offset_E, self.offset_t_E = edge_offset_E[order], edge_offset_E[order_t]
        # Rows of offsets, a one for every entry that has it: adds up gradients of shared weights.
        self.offset_crow = torch.zeros(
            int(edge_offset_E.max()) + 2 if len(edge_offset_E) else 1, dtype=torch.int64
        )
        self.offset_crow[1:] = torch.bincount(self.offset_E).cumsum(0)
        self.offset_col = torch.argsort(self.offset_E, stable=True)

    def to(self, device: torch.device) -> SparsePattern:
        """Move the index tensors to ``device`` (in place)."""
        for name in _TENSORS:
            setattr(self, name, getattr(self, name).to(device))
        return self

    def stacked(self, values_CM: Tensor) -> Tensor:
        """A view as the J right-hand sides of the block diagonal matrix, (J, H N, B)."""
        batch = values_CM.shape[1] // self.num_cells
        return values_CM.view(-1, self.size, batch)

    def values(self, weight_OH: Tensor) -> tuple[Tensor, Tensor]:
        """Entries of the matrix and of its transpose, (H E) both.

        The gradient reaches the weights through the first alone: both hold the same weights.
        """
        places = (self.offset_E, self.offset_crow, self.offset_col)
        entries: Tensor = _Spread.apply(weight_OH, *places)  # type: ignore[no-untyped-call]
        transposed = weight_OH.detach().t()[:, self.offset_t_E]
        return entries, transposed.reshape(-1)


def _compress(
    row_E: Tensor, col_E: Tensor, num_cells: int, heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Row pointers and columns of the block diagonal matrix, and the order of one block's edges."""
    order_E = torch.argsort(row_E * num_cells + col_E, stable=True)
    degree_N = torch.bincount(row_E, minlength=num_cells)
    fits = max(heads * num_cells, heads * row_E.numel()) <= _INT32
    kind = torch.int32 if fits else torch.int64
    crow = torch.zeros(heads * num_cells + 1, dtype=kind)
    crow[1:] = degree_N.repeat(heads).cumsum(0)
    shift_H1 = torch.arange(heads)[:, None]
    col = (col_E[order_E][None] + shift_H1 * num_cells).reshape(-1).to(kind)
    return crow, col, order_E


def _matrix(crow: Tensor, col: Tensor, values: Tensor) -> Tensor:
    size = crow.numel() - 1
    return torch.sparse_csr_tensor(crow, col, values, (size, size), check_invariants=False)


def _like(values_JKB: Tensor, crow: Tensor, col: Tensor, entries_E: Tensor) -> Tensor:
    return torch.empty_like(values_JKB, memory_format=torch.contiguous_format)


@opaque(_like)
def sparse_product(values_JKB: Tensor, crow: Tensor, col: Tensor, entries_E: Tensor) -> Tensor:
    """``m[j] = A v[j]``."""
    result_JKB = _like(values_JKB, crow, col, entries_E)
    matrix = _matrix(crow, col, entries_E)
    for v_KB, out_KB in zip(values_JKB, result_JKB, strict=True):
        torch.mm(matrix, v_KB, out=out_KB)
    return result_JKB


def _entries(left_JKB: Tensor, right_JKB: Tensor, crow: Tensor, col: Tensor) -> Tensor:
    return left_JKB.new_empty(col.numel())


@opaque(_entries)
def sampled_product(left_JKB: Tensor, right_JKB: Tensor, crow: Tensor, col: Tensor) -> Tensor:
    """``s(i, k) = sum over j of <left[j, i], right[j, k]>`` at the entries of the pattern."""
    sampled = _matrix(crow, col, left_JKB.new_zeros(col.numel()))
    for l_KB, r_KB in zip(left_JKB, right_JKB, strict=True):
        sampled = torch.sparse.sampled_addmm(sampled, l_KB, r_KB.t())
    return sampled.values()


def _rows(grad_EH: Tensor, crow: Tensor, col: Tensor) -> Tensor:
    return grad_EH.new_empty(crow.numel() - 1, grad_EH.shape[1])


@opaque(_rows)
def sum_by_offset(grad_EH: Tensor, crow: Tensor, col: Tensor) -> Tensor:
    """Sum of the rows that share an offset, (O, H)."""
    ones_E, size = grad_EH.new_ones(col.numel()), (crow.numel() - 1, col.numel())
    return torch.sparse_csr_tensor(crow, col, ones_E, size, check_invariants=False) @ grad_EH


class _Spread(torch.autograd.Function):
    """Weights of offsets to entries of the matrix; gradients add up in a fixed order, fast."""

    @staticmethod
    def forward(ctx: Any, weight_OH: Tensor, offset_E: Tensor, crow: Tensor, col: Tensor) -> Tensor:
        ctx.save_for_backward(crow, col)
        ctx.shape = weight_OH.shape
        return weight_OH.t()[:, offset_E].reshape(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        crow, col = ctx.saved_tensors
        offsets, heads = ctx.shape
        grad_OH = sum_by_offset(grads[0].view(heads, -1).t().contiguous(), crow, col)
        # Offsets beyond the largest one in use have no entry.
        return torch.nn.functional.pad(grad_OH, (0, 0, 0, offsets - len(grad_OH))), None, None, None
