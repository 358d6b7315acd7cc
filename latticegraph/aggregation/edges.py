"""Sums over explicit edges: by gather and scatter, and by a product with a sparse matrix.

Legend: C channels, H heads, N cells, B batch, M = N B columns, O offsets, E edges.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from latticegraph.aggregation.neighbourhood import FastNeighbourhood, Neighbourhood, PreparedWeights
from latticegraph.aggregation.spmm import SparsePattern, sampled_product, sparse_product
from latticegraph.aggregation.stencil import Stencil
from latticegraph.errors import GraphError


class EdgeNeighbourhood(Neighbourhood):
    """Edges gathered and scattered one by one: the reference, for any graph.

    Args:
        edge_index_2E: source and target cell of each edge (PyG convention, source -> target).
        edge_attr_O4: attributes, once per distinct offset.
        num_cells: N.
        heads: H, edge weights per edge.
        edge_offset_E: row of ``edge_attr_O4`` that each edge uses; None: edge e uses row e.

    Raises:
        GraphError: when an edge names a cell that does not exist.
    """

    def __init__(
        self,
        edge_index_2E: Tensor,
        edge_attr_O4: Tensor,
        num_cells: int,
        heads: int,
        edge_offset_E: Tensor | None = None,
    ) -> None:
        if (
            edge_index_2E.numel()
            and not 0 <= int(edge_index_2E.min()) <= int(edge_index_2E.max()) < num_cells
        ):
            raise GraphError(
                "edge_index",
                f"expected cells in 0..{num_cells - 1}, got {int(edge_index_2E.min())}.."
                f"{int(edge_index_2E.max())}",
                "Pass the number of cells of the graph these edges belong to",
            )
        # Most edges into one cell; of a lattice, as many as there are offsets.
        degree = None
        if edge_offset_E is None:
            degree = int(torch.bincount(edge_index_2E[1], minlength=1).max())
        super().__init__(edge_attr_O4, num_cells, heads, degree)
        self.edge_index_2E = edge_index_2E
        self.edge_offset_E = edge_offset_E
        self.scatter = EdgeSum()

    def largest_sum(self, size_OH: Tensor) -> Tensor:
        """Largest sum over the edges into one cell, cell by cell."""
        size_EH = self.per_edge(size_OH)
        total_NH = size_EH.new_zeros(self.num_cells, size_EH.shape[1])
        return total_NH.index_add(0, self.edge_index_2E[1], size_EH).amax(dim=0)

    def per_edge(self, weight_OH: Tensor) -> Tensor:
        """Weights of offsets spread over the edges that share them, (E, H)."""
        if self.edge_offset_E is None:
            return weight_OH
        return weight_OH.index_select(0, self.edge_offset_E)

    def prepare(self, weight_OH: Tensor) -> PreparedWeights:
        """Weights of edges, (E, H)."""
        return (self.per_edge(weight_OH),)

    def sum(self, values_CM: Tensor, prepared: PreparedWeights) -> Tensor:
        """Gather, multiply by the weights and scatter, by PyG's ``propagate``."""
        values_CNB = values_CM.reshape(values_CM.shape[0], self.num_cells, -1)
        weight_EH = prepared[0].to(values_CM.dtype)
        summed: Tensor = self.scatter(values_CNB, self.edge_index_2E, weight_EH)
        return summed.flatten(1)


def remove_generated_files(layer: MessagePassing) -> None:
    """Delete the source files that PyG wrote for the class of ``layer`` into the temporary folder.

    PyG imports them once per process and leaves them behind, one more at every start.

    Args:
        layer: made by its constructor, which imports them.
    """
    prefix = f"{type(layer).__module__}_{type(layer).__name__}"
    for name in (f"{prefix}_propagate", f"{prefix}_edge_updater"):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None:
            Path(file).unlink(missing_ok=True)


class EdgeSum(MessagePassing):
    """Weighted sum of the values of all edges into a cell: the edge-level reference.

    Shapes:
        values (C, N, B), weight (E, H) -> (C, N, B); H divides C
    """

    def __init__(self) -> None:
        super().__init__(aggr="add", node_dim=-2)
        remove_generated_files(self)

    def forward(self, values: Tensor, edge_index: Tensor, weight: Tensor) -> Tensor:
        """The sum of all edges into each cell."""
        summed: Tensor = self.propagate(edge_index, values=values, weight=weight)
        return summed

    def message(self, values_j: Tensor, weight: Tensor) -> Tensor:
        """Value of each edge's source times the weight of the edge and head."""
        repeats = values_j.shape[0] // weight.shape[1]
        return values_j * weight.t().repeat(repeats, 1)[:, :, None]


class SparseNeighbourhood(FastNeighbourhood):
    """Edges as a sparse matrix whose structure, and that of its transpose, are made once.

    Args:
        edges: the same edges, one by one.
        stencil: the offsets, where the edges are those of a lattice: it scales weights without
            visiting edges.
    """

    def __init__(self, edges: EdgeNeighbourhood, stencil: Stencil | None = None) -> None:
        super().__init__(edges.edge_attr_O4, edges.num_cells, edges.heads, edges.neighbours)
        self.edges = edges
        self.stencil = stencil
        self.pattern = SparsePattern(
            edges.edge_index_2E, edges.num_cells, edges.heads, edges.edge_offset_E
        )

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move everything to ``device`` (in place)."""
        super().to(device, dtype)
        self.edges.to(device, dtype)
        self.pattern.to(device)
        if self.stencil is not None:
            self.stencil.to(device)

    def largest_sum(self, size_OH: Tensor) -> Tensor:
        """Largest sum over the edges into one cell."""
        return (self.stencil or self.edges).largest_sum(size_OH)

    def prepare(self, weight_OH: Tensor) -> PreparedWeights:
        """Entries of the matrix and of its transpose, each in its order, (H E)."""
        return self.pattern.values(weight_OH)

    def run(
        self, values_CM: Tensor, prepared: PreparedWeights, keep: bool
    ) -> tuple[Tensor, Tensor]:
        """One product per channel of a head; the values are all that the gradient needs."""
        pattern = self.pattern
        values_JKB = pattern.stacked(values_CM)
        summed = sparse_product(values_JKB, pattern.crow, pattern.col, prepared[0])
        return summed.view_as(values_CM), values_CM if keep else values_CM.new_empty(0)

    def back(
        self, grad_CM: Tensor, prepared: PreparedWeights, kept: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Products with the transpose, and dense products sampled at the edges."""
        pattern = self.pattern
        grad_JKB = pattern.stacked(grad_CM)
        values = sparse_product(grad_JKB, pattern.crow_t, pattern.col_t, prepared[1])
        sampled = None
        if kept.numel():
            sampled = sampled_product(grad_JKB, pattern.stacked(kept), pattern.crow, pattern.col)
        return values.view_as(grad_CM), sampled
