"""Sum over neighbours as a product with a sparse matrix: exact, and no tensor per edge and channel.

Legend: C channels, H heads, J channels per head (C = J * H), N cells, B batch, E edges.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class SparsePattern:
    """Compressed rows of one edge set, repeated on the diagonal once per head, and its transpose.

    Args:
        edge_index_2E: source and target of each edge, in any order.
        num_cells: N.
        heads: H.

    The matrix of head h holds the weight of edge (j -> i) at row i, column j; all heads share the
    pattern, so the block diagonal matrix has H * N rows and H * E entries (32-bit indices).
    """

    def __init__(self, edge_index_2E: Tensor, num_cells: int, heads: int) -> None:
        self.size = num_cells * heads
        source_E, target_E = edge_index_2E
        forward = _compress(target_E, source_E, num_cells, heads)
        backward = _compress(source_E, target_E, num_cells, heads)
        self.crow, self.col, self.order = forward
        self.crow_t, self.col_t, self.order_t = backward

    def to(self, device: torch.device) -> SparsePattern:
        """Move the index tensors to ``device`` (in place)."""
        for name in ("crow", "col", "order", "crow_t", "col_t", "order_t"):
            setattr(self, name, getattr(self, name).to(device))
        return self


def _compress(
    row_E: Tensor, col_E: Tensor, num_cells: int, heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Row pointers, columns and edge order of the block diagonal matrix."""
    order_E = torch.argsort(row_E * num_cells + col_E, stable=True)
    degree_N = torch.bincount(row_E, minlength=num_cells)
    crow = torch.zeros(heads * num_cells + 1, dtype=torch.int32)
    crow[1:] = degree_N.repeat(heads).cumsum(0)
    shift_H1 = torch.arange(heads)[:, None]
    col = (col_E[order_E][None] + shift_H1 * num_cells).reshape(-1).to(torch.int32)
    order = (order_E[None] + shift_H1 * row_E.numel()).reshape(-1)
    return crow, col, order


def _matrix(crow: Tensor, col: Tensor, values: Tensor, size: int) -> Tensor:
    return torch.sparse_csr_tensor(crow, col, values, (size, size), check_invariants=False)


def _multiply(matrix: Tensor, values_JKB: Tensor) -> Tensor:
    result_JKB = torch.empty_like(values_JKB)
    for v_KB, out_KB in zip(values_JKB, result_JKB, strict=True):
        torch.mm(matrix, v_KB, out=out_KB)
    return result_JKB


class _SparseProduct(torch.autograd.Function):
    """``m = A(w) v`` with gradients to w and v; the backward pass stays sparse too.

    dL/dv = A(w)^T dL/dm, and dL/dw(i, j) = <dL/dm_i, v_j>: a dense product sampled at the pattern.
    """

    @staticmethod
    def forward(ctx: Any, values_JKB: Tensor, weight_HE: Tensor, pattern: SparsePattern) -> Tensor:
        ctx.save_for_backward(values_JKB, weight_HE)
        ctx.pattern = pattern
        matrix = _matrix(pattern.crow, pattern.col, weight_HE[pattern.order], pattern.size)
        return _multiply(matrix, values_JKB)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        values_JKB, weight_HE = ctx.saved_tensors
        pattern: SparsePattern = ctx.pattern
        grad_JKB = grads[0].contiguous()
        grad_values: Tensor | None = None
        grad_weight: Tensor | None = None
        if ctx.needs_input_grad[0]:
            matrix = _matrix(
                pattern.crow_t, pattern.col_t, weight_HE[pattern.order_t], pattern.size
            )
            grad_values = _multiply(matrix, grad_JKB)
        if ctx.needs_input_grad[1]:
            sampled = _matrix(pattern.crow, pattern.col, torch.zeros_like(weight_HE), pattern.size)
            for g_KB, v_KB in zip(grad_JKB, values_JKB, strict=True):
                sampled = torch.sparse.sampled_addmm(sampled, g_KB, v_KB.t())
            grad_weight = torch.empty_like(weight_HE)
            grad_weight[pattern.order] = sampled.values()
        return grad_values, grad_weight, None


def sparse_neighbour_sum(values_CNB: Tensor, weight_EH: Tensor, pattern: SparsePattern) -> Tensor:
    """``m[c, i, b] = sum over edges e = (j -> i) of weight[e, c mod H] * values[c, j, b]``.

    Args:
        values_CNB: one value per channel, cell and sample.
        weight_EH: one weight per edge and head, in the order of the edges given to ``pattern``.
        pattern: the compressed edge set.

    Shapes:
        values_CNB (C, N, B), weight_EH (E, H) -> (C, N, B); H divides C.
    """
    channels, cells, batch = values_CNB.shape
    heads = weight_EH.shape[1]
    values_JKB = values_CNB.reshape(channels // heads, heads * cells, batch)
    weight_HE = weight_EH.t().reshape(-1).to(values_CNB.dtype)
    product = _SparseProduct.apply
    with torch.autocast(values_CNB.device.type, enabled=False):  # there is no sparse bfloat16
        summed: Tensor = product(values_JKB, weight_HE, pattern)  # type: ignore[no-untyped-call]
    return summed.reshape(channels, cells, batch)
