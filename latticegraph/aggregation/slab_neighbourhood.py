"""Sums over neighbours on a slab of the lattice: the same convolution, with a halo.

Legend: C channels, B batch, X planes, P cells of a plane, M = B X P columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latticegraph.aggregation.cells import SlabCells
from latticegraph.aggregation.fourier import GridNeighbourhood
from latticegraph.aggregation.neighbourhood import FastNeighbourhood, PreparedWeights
from latticegraph.aggregation.stencil import Stencil
from latticegraph.distributed.neighbours import swap


class SlabNeighbourhood(FastNeighbourhood):
    """A :class:`GridNeighbourhood` on the own planes and as many of both neighbours as edges reach.

    The planes next to a cut travel to the other process before every sum; their gradients travel
    back. Gradients of weights are those of the own cells: add them up over processes.

    Args:
        stencil: the offsets, on the whole lattice.
        edge_attr_O4: their attributes.
        heads: H.
        slab: the planes of this process.
    """

    samples_inner = False

    def __init__(self, stencil: Stencil, edge_attr_O4: Tensor, heads: int, slab: SlabCells) -> None:
        super().__init__(edge_attr_O4, slab.num_cells, heads)
        self.slab = slab
        self.stencil = stencil
        self.planes = slab.end - slab.first
        _, rows, columns = stencil.dimensions
        box = (self.planes + slab.before + slab.after, rows, columns)
        self.inner = GridNeighbourhood(Stencil(stencil.offsets_O3, box, False), edge_attr_O4, heads)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move everything to ``device`` (in place)."""
        super().to(device, dtype)
        self.stencil.to(device)
        self.inner.to(device, dtype)

    def largest_sum(self, size_OH: Tensor) -> Tensor:
        """Of the whole lattice, so that all processes scale alike."""
        return self.stencil.largest_sum(size_OH)

    def prepare(self, weight_OH: Tensor) -> PreparedWeights:
        """As on a box of its own."""
        return self.inner.prepare(weight_OH)

    def run(
        self, values_CM: Tensor, prepared: PreparedWeights, keep: bool
    ) -> tuple[Tensor, Tensor]:
        """Fetch the halo, convolve, keep the own planes."""
        summed, kept = self.inner.run(self.widened(values_CM), prepared, keep)
        return self._own(summed), kept

    def back(
        self, grad_CM: Tensor, prepared: PreparedWeights, kept: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """The opposite convolution; gradients of the halo go back to where it came from."""
        own = self._boxes(grad_CM, self.planes)
        sides = (self.slab.before, self.slab.after)
        before, after = (own.new_zeros(*own.shape[:2], side, own.shape[3]) for side in sides)
        wide = torch.cat([before, own, after], dim=2).view(own.shape[0], -1)
        values, grad = self.inner.back(wide, prepared, kept)
        return self.narrowed(values), grad

    def widened(self, values_CM: Tensor) -> Tensor:
        """The own planes between those that the neighbours sent."""
        own, reach = self._boxes(values_CM, self.planes), self.slab.reach
        ends = (own[:, :, :reach].movedim(2, 0), own[:, :, -reach:].movedim(2, 0))
        before, after = swap(*ends, self.slab.processes)
        parts = [before.movedim(0, 2), own, after.movedim(0, 2)]
        return torch.cat(parts, dim=2).view(own.shape[0], -1)

    def narrowed(self, grad_CM: Tensor) -> Tensor:
        """The gradient of :meth:`widened`."""
        slab = self.slab
        planes = (slab.before, self.planes, slab.after)
        before, own, after = self._boxes(grad_CM, sum(planes)).split(planes, dim=2)
        own = own.contiguous()
        empty = own[:, :, : slab.reach].movedim(2, 0)
        sent = [p.movedim(2, 0) if p.shape[2] else empty for p in (before, after)]
        from_before, from_after = swap(sent[0], sent[1], slab.processes)
        if len(from_before):
            own[:, :, : slab.reach] += from_before.movedim(0, 2)
        if len(from_after):
            own[:, :, -slab.reach :] += from_after.movedim(0, 2)
        grad: Tensor = own.view(own.shape[0], -1)
        return grad

    def _own(self, summed_CM: Tensor) -> Tensor:
        wide = self.planes + self.slab.before + self.slab.after
        kept = self._boxes(summed_CM, wide).narrow(2, self.slab.before, self.planes)
        return kept.reshape(kept.shape[0], -1)

    def _boxes(self, value_CM: Tensor, planes: int) -> Tensor:
        """Columns as (C, B, X, P)."""
        return value_CM.view(value_CM.shape[0], -1, planes, self.slab.plane_cells)
