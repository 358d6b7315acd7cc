"""The planes of a lattice that one of several processes holds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from latticegraph.config import LatticeSettings
from latticegraph.distributed import Processes
from latticegraph.errors import ConfigError
from latticegraph.lattice.offsets import lattice_offsets


@dataclass(frozen=True)
class Slab:
    """Neighbouring planes along the first axis, one slab per process, in the order of the ranks.

    Args:
        processes: of the run.
        first: first plane.
        end: plane after the last.
        planes: of the whole lattice.
        plane_cells: cells of one plane.
        reach: largest number of planes that an edge spans.
    """

    processes: Processes
    first: int
    end: int
    planes: int
    plane_cells: int
    reach: int

    @property
    def num_cells(self) -> int:
        """Cells of this slab."""
        return (self.end - self.first) * self.plane_cells

    @property
    def before(self) -> int:
        """Planes of the slab before this one that cells here are joined to."""
        return self.reach if self.processes.rank else 0

    @property
    def after(self) -> int:
        """Planes of the slab after this one that cells here are joined to."""
        return self.reach if self.processes.rank < self.processes.size - 1 else 0

    @property
    def cells(self) -> slice:
        """Numbers of the cells of this slab."""
        return slice(self.first * self.plane_cells, self.end * self.plane_cells)

    def sizes(self) -> list[int]:
        """Cells of every slab, by rank."""
        return [planes * self.plane_cells for planes in self.processes.shares(self.planes)]

    def own(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Which of some cells lie in this slab.

        Args:
            cells: numbers in the whole lattice.

        Returns:
            Their positions in ``cells``, and their numbers within the slab.
        """
        start, end = self.cells.start, self.cells.stop
        position = ((cells >= start) & (cells < end)).nonzero().flatten()
        return position, cells[position] - start


def make_slab(settings: LatticeSettings, processes: Processes) -> Slab:
    """The slab of this process.

    Args:
        settings: of the whole lattice.
        processes: of the run.

    Raises:
        ConfigError: the lattice cannot be cut this way, or a slab would be thinner than the reach.
    """
    needed = {"boundary": "open", "numbering": "row_major", "axis": 0}
    for key, value in needed.items():
        found = getattr(settings, key)
        if found != value:
            raise ConfigError(
                f"lattice.{key}",
                f"expected {value} for run.parallel 'slabs', got {found}",
                f"Set lattice.{key} to {value}, or run.parallel to data",
            )
    planes, rows, columns = settings.dimensions
    reach = int(abs(lattice_offsets(settings).offset_O3[:, 0]).max())
    thinnest = min(processes.shares(planes))
    if thinnest < reach:
        raise ConfigError(
            "run.parallel",
            f"expected slabs of at least {reach} planes (the reach of an edge), got {thinnest}: "
            f"{planes} planes among {processes.size} processes",
            f"Start at most {max(1, planes // reach)} processes, or enlarge lattice.dimensions",
        )
    own = processes.own(planes)
    return Slab(processes, own.start, own.stop, planes, rows * columns, reach)
