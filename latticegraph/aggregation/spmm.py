"""Sum over neighbours as a product with a sparse matrix: exact, and no tensor per edge and channel.

Legend: C channels, H heads, J channels per head (C = J * H), N cells, B batch, M = N B columns, E
edges, O offsets.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from latticegraph.aggregation.opaque import opaque
from latticegraph.terminal import quiet_torch

_INT32 = 2**31 - 1
LANES = 8
_TENSORS = ("crow", "col", "crow_t", "col_t", "offset_E", "offset_t_E")


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
        quiet_torch()
        self.num_cells = num_cells
        self.size = num_cells * heads
        source_E, target_E = edge_index_2E
        if edge_offset_E is None:
            edge_offset_E = torch.arange(source_E.numel(), device=source_E.device)
        self.crow, self.col, order = _compress(target_E, source_E, num_cells, heads)
        self.crow_t, self.col_t, order_t = _compress(source_E, target_E, num_cells, heads)
        self.offset_E, self.offset_t_E = edge_offset_E[order], edge_offset_E[order_t]

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
        weight_HO = weight_OH.t().contiguous()
        heads = weight_HO.shape[0]
        entries = weight_HO.gather(1, self.offset_E.expand(heads, -1))
        transposed = weight_HO.detach().gather(1, self.offset_t_E.expand(heads, -1))
        return entries.view(-1), transposed.view(-1)


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
        torch.addmm(out_KB, matrix, v_KB, beta=0, out=out_KB)  # mm would copy its result
    return result_JKB


def _entries(left_JKB: Tensor, right_JKB: Tensor, crow: Tensor, col: Tensor) -> Tensor:
    return left_JKB.new_empty(col.numel())


@opaque(_entries)
def sampled_product(left_JKB: Tensor, right_JKB: Tensor, crow: Tensor, col: Tensor) -> Tensor:
    """``s(i, k) = sum over j of <left[j, i], right[j, k]>`` at the entries of the pattern."""
    columns = left_JKB.shape[2]
    if left_JKB.device.type == "cpu" and columns > 1 and columns % LANES:
        # Rows of 2 to 7 numbers took ten times as long as rows of 8: they are not vectorised.
        left_JKB, right_JKB = (pad(part, (0, -columns % LANES)) for part in (left_JKB, right_JKB))
    sampled = _matrix(crow, col, left_JKB.new_zeros(col.numel()))
    for l_KB, r_KB in zip(left_JKB, right_JKB, strict=True):
        torch.sparse.sampled_addmm(sampled, l_KB, r_KB.t(), out=sampled)
    return sampled.values()
