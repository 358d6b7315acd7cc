"""Which cells of a lattice this process holds: all of them, or those of a slab.

Legend: C channels, N cells, B batch, M selected cells.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latticegraph.distributed import ALONE, Processes, all_gather, all_sum
from latticegraph.errors import ConfigError
from latticegraph.lattice import LatticeGraph


class Cells:
    """All cells of a lattice, held by one process.

    Args:
        graph: the lattice.

    Attributes:
        num_cells: N, cells held by this process.
        total: cells of the whole lattice.
        is_whole: whether this process holds all of them.
        processes: those that hold the lattice together.
    """

    is_whole = True

    def __init__(self, graph: LatticeGraph) -> None:
        self.total = graph.num_cells
        self.num_cells = graph.num_cells
        self.processes = ALONE

    def held(self, numbers_M: Tensor) -> tuple[Tensor, Tensor]:
        """Positions in ``numbers_M`` of the cells held here, and their numbers among those.

        Args:
            numbers_M: cell numbers in the whole lattice.
        """
        return torch.arange(len(numbers_M)), numbers_M

    def sum(self, value: Tensor) -> Tensor:
        """Sum of ``value`` over the processes that hold the lattice, differentiable."""
        return value

    def gather(self, value: Tensor, dim: int) -> Tensor:
        """Values of all cells from those of the cells held here, along ``dim``."""
        return value

    def select(self, numbers_M: Tensor) -> SelectedCells:
        """Reads and writes the states of some cells.

        Args:
            numbers_M: cell numbers in the whole lattice.
        """
        return SelectedCells(self, numbers_M)


class SlabCells(Cells):
    """Neighbouring planes along the first axis, one slab per process in the order of the ranks.

    Args:
        graph: the whole lattice.
        processes: those that hold it together.

    Attributes:
        first: first plane.
        end: plane after the last.
        plane_cells: cells of one plane.
        reach: largest number of planes that an edge spans.

    Raises:
        ConfigError: the lattice cannot be divided this way, or a slab would be thinner than the
            reach.
    """

    is_whole = False

    def __init__(self, graph: LatticeGraph, processes: Processes) -> None:
        super().__init__(graph)
        _check_settings(graph)
        planes, rows, columns = graph.settings.dimensions
        own = processes.own(planes)
        self.processes = processes
        self.first, self.end, self.planes = own.start, own.stop, planes
        self.plane_cells = rows * columns
        self.reach = int(graph.offsets_O3[:, 0].abs().max())
        self.num_cells = (self.end - self.first) * self.plane_cells
        thinnest = min(processes.shares(planes))
        if thinnest < self.reach:
            raise ConfigError(
                "run.parallel",
                f"expected slabs of at least {self.reach} planes (the reach of an edge), got "
                f"{thinnest}: {planes} planes among {processes.size} processes",
                f"Start at most {max(1, planes // self.reach)} processes, or enlarge "
                "lattice.dimensions",
            )

    @property
    def before(self) -> int:
        """Planes of the previous slab that cells held here have edges to."""
        return self.reach if self.processes.rank else 0

    @property
    def after(self) -> int:
        """Planes of the next slab that cells held here have edges to."""
        return self.reach if self.processes.rank < self.processes.size - 1 else 0

    def sizes(self) -> list[int]:
        """Cells of every slab, by rank."""
        return [planes * self.plane_cells for planes in self.processes.shares(self.planes)]

    def held(self, numbers_M: Tensor) -> tuple[Tensor, Tensor]:
        """As in :class:`Cells`."""
        start, end = self.first * self.plane_cells, self.end * self.plane_cells
        position = ((numbers_M >= start) & (numbers_M < end)).nonzero().flatten()
        return position, numbers_M[position] - start

    def sum(self, value: Tensor) -> Tensor:
        """As in :class:`Cells`."""
        return all_sum(value, self.processes)

    def gather(self, value: Tensor, dim: int) -> Tensor:
        """As in :class:`Cells`."""
        return all_gather(value, self.processes, dim=dim, sizes=self.sizes())


def divide_cells(graph: LatticeGraph, processes: Processes) -> Cells:
    """The cells that this process holds when ``processes`` hold the lattice together.

    Args:
        graph: the whole lattice.
        processes: a single process holds all cells.

    Raises:
        ConfigError: the lattice cannot be divided into that many slabs.
    """
    return Cells(graph) if processes.size == 1 else SlabCells(graph, processes)


class SelectedCells(nn.Module):
    """Some cells of the lattice, of which this process may hold a part.

    Args:
        cells: which cells this process holds.
        numbers_M: numbers of the selected cells in the whole lattice.
    """

    position: Tensor
    number: Tensor

    def __init__(self, cells: Cells, numbers_M: Tensor) -> None:
        super().__init__()
        self.cells = cells
        self.count = len(numbers_M)
        position, number = cells.held(numbers_M)
        self.register_buffer("position", position.clone(), persistent=False)
        self.register_buffer("number", number.clone(), persistent=False)

    def write(self, x_CNB: Tensor, value_CMB: Tensor) -> Tensor:
        """States with the values of all selected cells written into those held here."""
        if not self.cells.is_whole:
            value_CMB = value_CMB[:, self.position]
        return x_CNB.index_copy(1, self.number, value_CMB)

    def read(self, x_CNB: Tensor) -> Tensor:
        """States of all selected cells, (C, M, B), in every process."""
        own_CmB = x_CNB.index_select(1, self.number)
        if self.cells.is_whole:
            return own_CmB
        all_CMB = x_CNB.new_zeros(x_CNB.shape[0], self.count, x_CNB.shape[2])
        return self.cells.sum(all_CMB.index_copy(1, self.position, own_CmB))


def _check_settings(graph: LatticeGraph) -> None:
    needed = {"boundary": "open", "numbering": "row_major", "axis": 0}
    for key, value in needed.items():
        found = getattr(graph.settings, key)
        if found != value:
            raise ConfigError(
                f"lattice.{key}",
                f"expected {value} for run.parallel 'slabs', got {found}",
                f"Set lattice.{key} to {value}, or run.parallel to data",
            )
