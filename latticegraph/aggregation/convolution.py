"""Sum over neighbours as a dense convolution: plain operators, for programs other than torch.

Legend: C channels, H heads, J channels per head (C = J * H), B batch, M = B N columns, O offsets.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv3d

from latticegraph.aggregation.neighbourhood import Neighbourhood, PreparedWeights
from latticegraph.aggregation.stencil import Stencil


class ConvolutionNeighbourhood(Neighbourhood):
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

    samples_inner = False

    def __init__(self, stencil: Stencil, edge_attr_O4: Tensor, heads: int) -> None:
        x, y, z = stencil.dimensions
        super().__init__(edge_attr_O4, x * y * z, heads)
        self.stencil = stencil
        self.sides = tuple(2 * reach + 1 for reach in stencil.reach)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move everything to ``device`` (in place)."""
        super().to(device, dtype)
        self.stencil.to(device)

    def largest_sum(self, size_OH: Tensor) -> Tensor:
        """As in :class:`Neighbourhood`."""
        return self.stencil.largest_sum(size_OH)

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
