"""Sums over neighbours by dense plain operators, for programs other than torch.

Legend: C channels, H heads, J channels per head (C = J * H), B batch, M = B N columns, O offsets.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv3d

from latticegraph.aggregation.edges import EdgeNeighbourhood
from latticegraph.aggregation.neighbourhood import (
    Neighbourhood,
    PreparedWeights,
    StencilNeighbourhood,
)

MOST_CELLS = 1024  # a matrix of all pairs of more would take above 4 MB per head


class PairNeighbourhood(Neighbourhood):
    """Edges as a matrix of all pairs of cells: for export alone, of at most 1,024 cells.

    Args:
        edges: the same edges, their cells by row-major place.
    """

    samples_inner = False

    def __init__(self, edges: EdgeNeighbourhood) -> None:
        super().__init__(edges.edge_attr_O4, edges.num_cells, edges.heads, edges.neighbours)
        self.edges = edges

    @property
    def products(self) -> int:
        """Per cell and channel."""
        return self.num_cells

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move everything to ``device`` (in place)."""
        super().to(device, dtype)
        self.edges.to(device, dtype)

    def largest_sum(self, size_OH: Tensor) -> Tensor:
        """As in :class:`Neighbourhood`."""
        return self.edges.largest_sum(size_OH)

    def prepare(self, weight_OH: Tensor) -> PreparedWeights:
        """The matrix of each head, (H, source, target); edges between the same cells add up."""
        source_E, target_E = self.edges.edge_index_2E
        cells, weight_EH = self.num_cells, self.edges.per_edge(weight_OH)
        pairs = weight_EH.new_zeros(cells * cells, weight_EH.shape[1])
        pairs = pairs.index_add(0, source_E * cells + target_E, weight_EH)
        return (pairs.t().reshape(-1, cells, cells).contiguous(),)

    def sum(self, values_CM: Tensor, prepared: PreparedWeights) -> Tensor:
        """As in :class:`Neighbourhood`."""
        (matrix,) = prepared
        samples = values_CM.shape[1] // self.num_cells
        values = values_CM.to(matrix.dtype).view(-1, self.heads, samples, self.num_cells)
        return (values @ matrix).reshape(values_CM.shape[0], -1)


class ConvolutionNeighbourhood(StencilNeighbourhood):
    """Neighbours at fixed offsets on a box, summed by a grouped 3-D convolution.

    Equation::

        m[i] = sum over offsets k in the box of sides 2 reach + 1 of K[k] v[i + k]

    with the head's weight of the offset in K, and 0 where there is no such offset. Beyond an open
    boundary lie zeros; a periodic one repeats the box. Every position of K is multiplied, whether
    it holds an offset or not: for export alone, where sparse sums and transforms do not exist.

    Args:
        stencil: the offsets.
        edge_attr_O4: their attributes.
        heads: H.
    """

    @property
    def sides(self) -> tuple[int, ...]:
        """Of the kernel."""
        return tuple(2 * reach + 1 for reach in self.stencil.reach)

    @property
    def products(self) -> int:
        """Per cell and channel."""
        return math.prod(self.sides)

    def prepare(self, weight_OH: Tensor) -> PreparedWeights:
        """The kernel of each head, (H, 1, X, Y, Z)."""
        offsets_O3 = self.stencil.offsets_O3
        x_O, y_O, z_O = (offsets_O3 + offsets_O3.new_tensor(self.stencil.reach)).unbind(1)
        kernel = weight_OH.new_zeros(weight_OH.shape[1], 1, *self.sides)
        kernel[:, 0, x_O, y_O, z_O] = weight_OH.t()
        return (kernel,)

    def sum(self, values_CM: Tensor, prepared: PreparedWeights) -> Tensor:
        """As in :class:`Neighbourhood`; the channels of a head are samples of its convolution."""
        (kernel,) = prepared
        channels, heads = values_CM.shape[0], self.heads
        boxes = values_CM.to(kernel.dtype).view(channels, -1, *self.stencil.dimensions)
        # (C, B) to (B J, H): channel c belongs to head c mod H.
        boxes = boxes.transpose(0, 1).reshape(-1, heads, *self.stencil.dimensions)
        if self.stencil.periodic:
            summed = conv3d(self._wrapped(boxes), kernel, groups=heads)
        else:
            summed = conv3d(boxes, kernel, groups=heads, padding=self.stencil.reach)
        summed = summed.reshape(-1, channels, *self.stencil.dimensions).transpose(0, 1)
        return summed.reshape(channels, -1)

    def _wrapped(self, boxes: Tensor) -> Tensor:
        """Boxes with what lies beyond each face repeated, even several times around."""
        for axis, (side, reach) in enumerate(
            zip(self.stencil.dimensions, self.stencil.reach, strict=True), start=2
        ):
            if reach:
                place = torch.arange(-reach, side + reach, device=boxes.device) % side
                boxes = boxes.index_select(axis, place)
        return boxes
