"""The offsets of one edge type on a static lattice: its edges without an edge list.

Shapes: O offsets, 3 axes, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Stencil:
    """Every cell's neighbours of one type, as offsets on a box of cells.

    Args:
        offsets_O3: source minus target, in cells, int64.
        dimensions: sides of the box.
        periodic: the box wraps along all axes; else edges end at its faces.

    Attributes:
        reach: largest |offset| along each axis.
    """

    def __init__(
        self, offsets_O3: Tensor, dimensions: tuple[int, int, int], periodic: bool
    ) -> None:
        self.offsets_O3 = offsets_O3
        self.dimensions = dimensions
        self.periodic = periodic
        x, y, z = (int(r) for r in offsets_O3.abs().amax(0)) if len(offsets_O3) else (0, 0, 0)
        self.reach = (x, y, z)

    def to(self, device: torch.device) -> None:
        """Move the offsets to ``device`` (in place)."""
        self.offsets_O3 = self.offsets_O3.to(device)

    @property
    def num_edges(self) -> int:
        """Edges of all cells together."""
        if self.periodic:
            x, y, z = self.dimensions
            return len(self.offsets_O3) * x * y * z
        room_O3 = torch.tensor(self.dimensions, device=self.offsets_O3.device)
        return int((room_O3 - self.offsets_O3.abs()).prod(1).sum())

    @property
    def is_self(self) -> bool:
        """Whether the only neighbour is the cell itself."""
        return len(self.offsets_O3) == 1 and self.reach == (0, 0, 0)

    def largest_sum(self, size_OH: Tensor) -> Tensor:
        """Largest sum of sizes (none negative) over the neighbours of one cell, (H,).

        A cell far from all faces has every neighbour, and no cell has a larger sum. Where the box
        is too thin for such a cell, the candidates are the cells whose window of offsets lies in no
        other's; their sums are box queries on the summed-volume table of the stencil.
        """
        if self.periodic or self._has_interior():
            return size_OH.sum(0)
        width = [2 * r + 1 for r in self.reach]
        place_O3 = self.offsets_O3 + torch.tensor(self.reach, device=self.offsets_O3.device)
        flat_O = (place_O3[:, 0] * width[1] + place_O3[:, 1]) * width[2] + place_O3[:, 2]
        grid = size_OH.new_zeros(width[0] * width[1] * width[2], size_OH.shape[1])
        table = grid.index_add(0, flat_O, size_OH).view(*width, -1)
        for axis, (side, reach) in enumerate(zip(self.dimensions, self.reach, strict=True)):
            if side > 2 * reach:
                table = table.sum(axis, keepdim=True)
                continue
            cells = torch.arange(max(0, side - 1 - reach), min(reach, side - 1) + 1)
            first = (reach - cells).clamp_min(0).to(grid.device)
            beyond = (reach + side - cells).clamp_max(2 * reach + 1).to(grid.device)
            table = torch.nn.functional.pad(table.cumsum(axis).movedim(axis, 0), _FRONT)
            table = (table[beyond] - table[first]).movedim(0, axis)
        return table.flatten(0, 2).amax(0)

    def _has_interior(self) -> bool:
        return all(n > 2 * r for n, r in zip(self.dimensions, self.reach, strict=True))


_FRONT = (0, 0, 0, 0, 0, 0, 1, 0)  # one slice of zeros before the first axis of four
