"""The edges of one expert, prepared for one of the exact ways to sum over neighbours."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from latticegraph.aggregation.spmm import SparsePattern
from latticegraph.errors import GraphError

Backend = Literal["spmm", "scatter"]
LARGEST_NORM = 2.0
BACKENDS: tuple[Backend, ...] = ("spmm", "scatter")


class Neighbourhood:
    """One edge set with its edge attributes, handed to an expert at every step.

    Args:
        edge_index_2E: source and target cell of each edge (PyG convention, source -> target).
        edge_attr_O4: distance / max_radius in [0, 1] and unit direction, once per distinct offset.
        num_cells: N.
        heads: H, edge weights per edge.
        backend: ``scatter`` gathers and scatters over edges (the reference, large), ``spmm``
            multiplies by a sparse matrix. Both give the same sum.
        edge_offset_E: row of ``edge_attr_O4`` that each edge uses; None: edge e uses row e.

    Raises:
        GraphError: when the backend is unknown, or an edge names a cell that does not exist.
    """

    def __init__(
        self,
        edge_index_2E: Tensor,
        edge_attr_O4: Tensor,
        num_cells: int,
        heads: int,
        backend: Backend = "spmm",
        edge_offset_E: Tensor | None = None,
    ) -> None:
        if backend not in BACKENDS:
            raise GraphError(
                "model.aggregation",
                f"expected one of {', '.join(BACKENDS)}, got '{backend}'",
                "Choose one of them",
            )
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
        self.backend = backend
        self.num_cells = num_cells
        self.heads = heads
        self.edge_index_2E = edge_index_2E
        self.edge_attr_O4 = edge_attr_O4
        self.edge_offset_E = edge_offset_E
        self.pattern = SparsePattern(edge_index_2E, num_cells, heads) if backend == "spmm" else None

    def to(self, device: torch.device) -> Neighbourhood:
        """Move all index and attribute tensors to ``device`` (in place)."""
        self.edge_index_2E = self.edge_index_2E.to(device)
        self.edge_attr_O4 = self.edge_attr_O4.to(device)
        if self.edge_offset_E is not None:
            self.edge_offset_E = self.edge_offset_E.to(device)
        if self.pattern is not None:
            self.pattern.to(device)
        return self

    def per_edge(self, weight_OH: Tensor) -> Tensor:
        """Weights of offsets spread over the edges that share them, scaled to a stable sum.

        Equation::

            w_e = a_e / max(1, n / 2),    n = max over cells i of sum over edges e into i of |a_e|

        per head, so that one sum over neighbours grows the largest value at most 2-fold (its
        operator norm in the maximum norm), however many neighbours a cell has.

        Shapes:
            (O, H) -> (E, H)
        """
        weight_EH = weight_OH
        if self.edge_offset_E is not None:
            weight_EH = weight_OH.index_select(0, self.edge_offset_E)
        if not weight_EH.numel():
            return weight_EH
        total_NH = weight_EH.new_zeros(self.num_cells, weight_EH.shape[1])
        total_NH = total_NH.index_add(0, self.edge_index_2E[1], weight_EH.abs())
        return weight_EH / (total_NH.amax(dim=0) / LARGEST_NORM).clamp_min(1.0)
