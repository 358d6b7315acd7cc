"""Which of some cells a process holds."""

from __future__ import annotations

from torch import Tensor, nn

from latticegraph.lattice import LatticeGraph


class OwnCells(nn.Module):
    """Those of some cells that are held here, and their places among all of them.

    Args:
        graph: the lattice, of which this process holds a slab.
        cells: numbers of cells.

    Attributes:
        position: places among ``cells``.
        cells: numbers within the slab.
    """

    def __init__(self, graph: LatticeGraph, cells: Tensor) -> None:
        super().__init__()
        assert graph.slab is not None, "a process that holds the whole lattice holds every cell"
        position, own = graph.slab.own(cells)
        self.register_buffer("position", position, persistent=False)
        self.register_buffer("cells", own, persistent=False)
        self.position: Tensor
        self.cells: Tensor
