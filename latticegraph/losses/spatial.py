"""Smoothness of the final states over the real edges of the graph.

Legend: B batch, N cells, C channels, K = C B columns, E edges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from latticegraph.lattice.edge_types import EdgeType

if TYPE_CHECKING:
    from latticegraph.lattice.graph import LatticeGraph
    from latticegraph.model.output import StudentOutput


class _SymmetricProduct(torch.autograd.Function):
    """``A @ x`` for a symmetric sparse A; the gradient is ``A @ grad``: nothing is transposed."""

    @staticmethod
    def forward(ctx: Any, adjacency_NN: Tensor, x_NK: Tensor) -> Tensor:
        ctx.adjacency_NN = adjacency_NN
        return adjacency_NN @ x_NK

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        return None, _symmetric_product(ctx.adjacency_NN, grads[0].contiguous())


_symmetric_product: Callable[[Tensor, Tensor], Tensor] = _SymmetricProduct.apply


class SpatialLoss(nn.Module):
    r"""Rayleigh quotient of the graph Laplacian, over functional and distant edges.

    With the degree-weighted mean over cells removed from each channel of each sample (a constant
    would otherwise pass for smoothness), d the degrees and A the adjacency without self edges:

    .. math::
        L = \frac{\sum_{(i,j) \in E} |x_i - x_j|^2}{2 \sum_i d_i |x_i|^2}
          = \frac{\sum_i d_i |x_i|^2 - \sum_i x_i \cdot (A x)_i}{\sum_i d_i |x_i|^2},
        \qquad 0 \le L \le 2

    About 1 for states that are independent from cell to cell, near 0 for states that vary slowly,
    above 1 for checkerboards; 0 when all cells are equal. The scale of the states does not matter.
    One product with an [N, N] matrix of ones costs O(E B C) time and no [E, B, C] tensor. (Chung,
    Spectral Graph Theory, 1997, section 1.2.)

    Args:
        graph: the lattice; its functional and distant edges run both ways.
    """

    row_starts: Tensor
    columns_E: Tensor
    ones_E: Tensor
    degree_N: Tensor

    def __init__(self, graph: LatticeGraph) -> None:
        super().__init__()
        # Through the offsets, so that no edge type per edge is ever stored.
        kept_E = (graph.offset_type_O != int(EdgeType.LOCAL))[graph.edge_offset_E]
        index_2E = graph.edge_index_2E[:, kept_E]  # sorted by target, as CSR rows must be
        degree_N = torch.bincount(index_2E[1], minlength=graph.num_cells)
        starts = torch.cat([degree_N.new_zeros(1), degree_N.cumsum(0)])
        self.register_buffer("row_starts", starts.to(torch.int32), persistent=False)
        self.register_buffer("columns_E", index_2E[0].to(torch.int32), persistent=False)
        self.register_buffer("ones_E", torch.ones(index_2E.shape[1]), persistent=False)
        self.register_buffer("degree_N", degree_N.to(torch.float32), persistent=False)

    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch; the teacher's ``target_BD`` plays no part.

        Shapes:
            output.states_CNB: [C, N, B]; result: scalar.
        """
        x_NK = output.states_CNB.transpose(0, 1).flatten(1)
        x_NK = x_NK.to(torch.promote_types(x_NK.dtype, torch.float32))
        degree_N1 = self.degree_N.to(x_NK.dtype)[:, None]
        # Below a millionth of the uncentred energy there is only rounding left to divide by.
        floor = 1e-6 * (degree_N1 * x_NK.detach().square()).sum()
        x_NK = x_NK - (degree_N1 * x_NK).sum(0) / degree_N1.sum()
        energy = (degree_N1 * x_NK.square()).sum()
        smooth = (x_NK * self._neighbour_sum(x_NK)).sum()
        quotient: Tensor
        quotient = (energy - smooth) / energy.maximum(floor).clamp_min(torch.finfo(x_NK.dtype).tiny)
        return quotient

    def _neighbour_sum(self, x_NK: Tensor) -> Tensor:
        cells = self.degree_N.shape[0]
        adjacency_NN = torch.sparse_csr_tensor(
            self.row_starts,
            self.columns_E,
            self.ones_E.to(x_NK.dtype),
            size=(cells, cells),
            check_invariants=False,
        )
        return _symmetric_product(adjacency_NN, x_NK)
