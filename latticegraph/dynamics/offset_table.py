"""Edge weights as a table: a free number per distinct offset and head, or per edge and head.

Legend: O distinct offsets (or edges), H heads.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from latticegraph.errors import GraphError


class OffsetTable(nn.Module):
    """``w(e, h) = table[offset of e, h]``, learned without any form in between.

    A network of the offset (:class:`~latticegraph.dynamics.edge_weights.EdgeWeights`) has far fewer
    parameters than a large neighbourhood has offsets; a table has exactly one for each weight. It
    belongs to the lattice whose offsets it lists, in their order.

    The random start has variance 1 / O, since a cell has O neighbours. The numbers are the weights
    themselves, without a factor in between, so one Adam step changes them relatively as much as the
    weights of a linear layer of O inputs.

    Source: the table of relative positions of Liu et al. 2021 (Swin Transformer), with a weight in
    place of a bias of the attention.

    Args:
        offsets: O, distinct offsets of the edges, at least 1.
        heads: H.
        gain: scale of the initial weights.

    Shapes:
        edge attributes (O, 4) -> (O, H)
    """

    row: ClassVar[str] = "offset"

    def __init__(self, offsets: int, heads: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight_OH = nn.Parameter(torch.empty(offsets, heads))
        self.reset_parameters(gain)

    def reset_parameters(self, gain: float = 1.0) -> None:
        """Draw new weights."""
        nn.init.normal_(self.weight_OH, std=gain / self.neighbours**0.5)

    @property
    def neighbours(self) -> int:
        """Edges into one cell that the start reckons with."""
        return self.weight_OH.shape[0]

    def forward(self, edge_attr_O4: Tensor, neighbours: int | None = None) -> Tensor:
        """Weight of each offset and head.

        Args:
            edge_attr_O4: attributes of the offsets of the table, in its order; only their number is
                read.
            neighbours: of a cell that has them all; without effect.

        Raises:
            GraphError: when there are not as many rows as the table has.
        """
        self._check(edge_attr_O4)
        return self.weight_OH

    @torch.no_grad()
    def fit(self, edge_attr_O4: Tensor, wanted_OH: Tensor) -> None:
        """Set the weights to ``wanted_OH``.

        Args:
            edge_attr_O4: attributes of every distinct offset.
            wanted_OH: the weight each offset and head should start with.

        Raises:
            GraphError: when there are not as many rows as the table has.
        """
        self._check(edge_attr_O4)
        self.weight_OH.copy_(wanted_OH)

    def extra_repr(self) -> str:
        """Offsets and heads, for ``print``."""
        offsets, heads = self.weight_OH.shape
        return f"offsets={offsets}, heads={heads}"

    def _check(self, edge_attr_O4: Tensor) -> None:
        expected, found = self.weight_OH.shape[0], edge_attr_O4.shape[0]
        if expected != found:
            raise GraphError(
                "edge_attr",
                f"expected {expected} rows, one for each {self.row} of the lattice that this table "
                f"of edge weights was made for, got {found}",
                "On another graph use an expert with weights 'network'",
            )


class EdgeTable(OffsetTable):
    """``w(e, h) = table[e, h]``: every edge has weights that no other edge shares.

    A locally connected layer (LeCun 1989): what a cell makes of a neighbour may differ from cell to
    cell. The table grows with the number of edges and belongs to the lattice whose edges it lists,
    in their order.

    Args:
        edges: E, at least 1.
        heads: H.
        neighbours: of a cell far from all faces, at least 1; the start has variance gain^2 /
            neighbours, as that of an OffsetTable of the same edges.
        gain: scale of the initial weights.

    Shapes:
        edge attributes (E, 4) -> (E, H)
    """

    row: ClassVar[str] = "edge"

    def __init__(self, edges: int, heads: int, neighbours: int, gain: float = 1.0) -> None:
        self._neighbours = neighbours
        super().__init__(edges, heads, gain)

    @property
    def neighbours(self) -> int:
        """Edges into one cell that the start reckons with."""
        return self._neighbours
