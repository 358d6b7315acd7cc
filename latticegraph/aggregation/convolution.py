"""Sum over neighbours as a dense convolution: plain operators, for programs other than torch.

Legend: C channels, H heads, J channels per head (C = J * H), B batch, M = B N columns, O offsets.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv3d

from latticegraph.aggregation.edges import EdgeNeighbourhood
from latticegraph.aggregation.neighbourhood import Neighbourhood, PreparedWeights
from latticegraph.aggregation.stencil import Stencil

MOST_CELLS = 1024  # a matrix of all pairs of more would take above 4 MB per head


class DenseNeighbourhood(Neighbourhood):
    """Sums by plain operators, the cells of a sample side by side in row-major order.

    Attributes:
        products: per cell and channel.
    """

    samples_inner = False
    products: int

    def by_matrix(self, values_CM: Tensor, matrix: Tensor) -> Tensor:
        """The sums, with the weights of all pairs of cells, (H, source, target)."""
        samples = values_CM.shape[1] // self.num_cells
        values = values_CM.to(matrix.dtype).view(-1, self.heads, samples, self.num_cells)
        return (values @ matrix).reshape(values_CM.shape[0], -1)


class PairNeighbourhood(DenseNeighbourhood):
    """Edges with weights of their own, as a matrix of all pairs of cells: for export alone.

    Args:
        edge_index_2E: source and target of each edge, by row-major place.
        edge_attr_E4: their attributes.
        num_cells: N.
        heads: H.
    """

    def __init__(
        self, edge_index_2E: Tensor, edge_attr_E4: Tensor, num_cells: int, heads: int
    ) -> None:
        self.edges = EdgeNeighbourhood(edge_index_2E, edge_attr_E4, num_cells, heads)
        super().__init__(edge_attr_E4, num_cells, heads, self.edges.neighbours)
        self.products = num_cells

    def largest_sum(self, size_OH: Tensor) -> Tensor:
        """As in :class:`Neighbourhood`."""
        return self.edges.largest_sum(size_OH)

    def prepare(self, weight_OH: Tensor) -> PreparedWeights:
        """The matrix of each head, (H, source, target)."""
        source_E, target_E = self.edges.edge_index_2E
        pairs = weight_OH.new_zeros(self.num_cells**2, weight_OH.shape[1])
        pairs = pairs.index_add(0, source_E * self.num_cells + target_E, weight_OH)
        return (pairs.t().reshape(-1, self.num_cells, self.num_cells).contiguous(),)

    def sum(self, values_CM: Tensor, prepared: PreparedWeights) -> Tensor:
        """As in :class:`Neighbourhood`."""
        return self.by_matrix(values_CM, prepared[0])


class ConvolutionNeighbourhood(DenseNeighbourhood):
    """Neighbours at fixed offsets on a box, summed by a grouped 3-D convolution.

    Equation::

        m[i] = sum over offsets k in the box of sides 2 reach + 1 of K[k] v[i + k]

    with the head's weight of the offset in K, and 0 where there is no such offset. Beyond an open
    boundary lie zeros; a periodic one repeats the box. Every position of K is multiplied, whether
    it holds an offset or not: for export alone, where sparse sums and transforms do not exist.

    A kernel with more places than the box has cells, of which there are at most
    :data:`MOST_CELLS`, is multiplied out to a matrix of all pairs of cells, which is less work.

    Args:
        stencil: the offsets.
        edge_attr_O4: their attributes.
        heads: H.
    """

    def __init__(self, stencil: Stencil, edge_attr_O4: Tensor, heads: int) -> None:
        x, y, z = stencil.dimensions
        super().__init__(edge_attr_O4, x * y * z, heads)
        self.stencil = stencil
        self.sides = tuple(2 * reach + 1 for reach in stencil.reach)
        places = math.prod(self.sides)
        self.is_matrix = self.num_cells <= min(places, MOST_CELLS)
        self.products = self.num_cells if self.is_matrix else places  # per cell and channel

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move everything to ``device`` (in place)."""
        super().to(device, dtype)
        self.stencil.to(device)

    def largest_sum(self, size_OH: Tensor) -> Tensor:
        """As in :class:`Neighbourhood`."""
        return self.stencil.largest_sum(size_OH)

    def prepare(self, weight_OH: Tensor) -> PreparedWeights:
        """The kernel of each head, (H, 1, X, Y, Z), or its matrix, (H, source, target)."""
        if self.is_matrix:
            return (self._matrix(weight_OH),)
        offsets_O3 = self.stencil.offsets_O3
        x_O, y_O, z_O = (offsets_O3 + offsets_O3.new_tensor(self.stencil.reach)).unbind(1)
        kernel = weight_OH.new_zeros(weight_OH.shape[1], 1, *self.sides)
        kernel[:, 0, x_O, y_O, z_O] = weight_OH.t()
        return (kernel,)

    def sum(self, values_CM: Tensor, prepared: PreparedWeights) -> Tensor:
        """As in :class:`Neighbourhood`; the channels of a head are samples of its convolution."""
        (kernel,) = prepared
        channels, heads = values_CM.shape[0], self.heads
        if self.is_matrix:
            return self.by_matrix(values_CM, kernel)
        boxes = values_CM.to(kernel.dtype).view(channels, -1, *self.stencil.dimensions)
        # (C, B) to (B J, H): channel c belongs to head c mod H.
        boxes = boxes.transpose(0, 1).reshape(-1, heads, *self.stencil.dimensions)
        if self.stencil.periodic:
            summed = conv3d(self._wrapped(boxes), kernel, groups=heads)
        else:
            summed = conv3d(boxes, kernel, groups=heads, padding=self.stencil.reach)
        summed = summed.reshape(-1, channels, *self.stencil.dimensions).transpose(0, 1)
        return summed.reshape(channels, -1)

    def _matrix(self, weight_OH: Tensor) -> Tensor:
        """Weight of every pair of cells; pairs that several offsets join get their sum."""
        offsets_O3, cells = self.stencil.offsets_O3, self.num_cells
        sides_3 = offsets_O3.new_tensor(self.stencil.dimensions)
        axes = [torch.arange(side, device=offsets_O3.device) for side in self.stencil.dimensions]
        target_N3 = torch.cartesian_prod(*axes)
        source_ON3 = target_N3 + offsets_O3[:, None]
        if self.stencil.periodic:
            source_ON3 = source_ON3 % sides_3
        offset_E, target_E = ((source_ON3 >= 0) & (source_ON3 < sides_3)).all(2).nonzero().unbind(1)
        x_E, y_E, z_E = source_ON3[offset_E, target_E].unbind(1)
        source_E = (x_E * sides_3[1] + y_E) * sides_3[2] + z_E
        pairs = weight_OH.new_zeros(cells * cells, weight_OH.shape[1])
        pairs = pairs.index_add(0, source_E * cells + target_E, weight_OH[offset_E])
        return pairs.t().reshape(-1, cells, cells).contiguous()

    def _wrapped(self, boxes: Tensor) -> Tensor:
        """Boxes with what lies beyond each face repeated, even several times around."""
        for axis, (side, reach) in enumerate(
            zip(self.stencil.dimensions, self.stencil.reach, strict=True), start=2
        ):
            if reach:
                place = torch.arange(-reach, side + reach, device=boxes.device) % side
                boxes = boxes.index_select(axis, place)
        return boxes
