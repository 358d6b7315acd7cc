"""Sum over neighbours as a convolution on the grid of cells: exact, and no edge is ever stored.

Legend: C channels, H heads, J channels per head (C = J * H), B batch, N = X Y Z cells, M = B N
columns, O offsets, F frequencies.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from latticegraph.aggregation.neighbourhood import (
    FastNeighbourhood,
    PreparedWeights,
    StencilNeighbourhood,
)
from latticegraph.aggregation.opaque import opaque
from latticegraph.aggregation.transforms import Sides, Transform, make_transform

# Spectra handled at once, in bytes: they stay in the cache between transform and product.
BLOCK_BYTES = 2**21


class GridNeighbourhood(StencilNeighbourhood, FastNeighbourhood):
    """Neighbours at fixed offsets on a box, summed by a convolution in the frequency domain.

    Equation::

        m[i] = sum over offsets o of w(o) v[i + o]  =  inverse(k(f) V(f)),
        V = transform(v),  k(f) = sum over o of w(o) exp(2 pi i f . o / L)

    With L at least side + reach, and zeros beyond the side, the boundary is open; with L the side
    itself it wraps. Cost and memory do not depend on the number of edges. The gradient of the
    weights is a correlation, taken back from the frequencies at the stencil's offsets.

    Args:
        stencil: the offsets.
        edge_attr_O4: their attributes.
        heads: H.
    """

    def prepare(self, weight_OH: Tensor) -> PreparedWeights:
        """Spectrum of each head's kernel, real and imaginary part side by side, (H, F, 2)."""
        offsets_O3 = self.stencil.offsets_O3
        return (_Spectrum.apply(weight_OH, offsets_O3, self._box()),)  # type: ignore[no-untyped-call]

    def run(
        self, values_CM: Tensor, prepared: PreparedWeights, keep: bool
    ) -> tuple[Tensor, Tensor]:
        """The sums and, with ``keep``, the spectra of the values."""
        boxes = values_CM.view(values_CM.shape[0], -1, *self.stencil.dimensions)
        summed, kept = convolve(boxes, prepared[0], keep, self._box())
        return summed.view_as(values_CM), kept

    def back(
        self, grad_CM: Tensor, prepared: PreparedWeights, kept: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """The opposite convolution, and correlations in the frequency domain."""
        boxes = grad_CM.view(grad_CM.shape[0], -1, *self.stencil.dimensions)
        values, correlation = convolve_backward(boxes, prepared[0], kept, self._box())
        return values.view_as(grad_CM), correlation if len(kept) else None

    def _box(self) -> list[int]:
        stencil = self.stencil
        return [*stencil.dimensions, *stencil.reach, int(stencil.periodic)]


def _transform(like: Tensor, box: list[int]) -> Transform:
    """The transform of a box: its three sides, how far edges reach along them, whether it wraps."""
    x, y, z, *reach, periodic = box
    far: Sides = (reach[0], reach[1], reach[2])
    return make_transform((x, y, z), far, bool(periodic), like.device, like.dtype)


def _places(offsets_O3: Tensor, padded: Sides) -> tuple[Tensor, Tensor, Tensor]:
    """Where the kernel of ``v[i + o]`` holds offset o: at -o, wrapped."""
    x_O, y_O, z_O = (-offsets_O3 % torch.tensor(padded, device=offsets_O3.device)).unbind(1)
    return x_O, y_O, z_O


def _empty_spectrum(weight_OH: Tensor, offsets_O3: Tensor, box: list[int]) -> Tensor:
    p, q, r = _transform(weight_OH, box).kept
    return weight_OH.new_empty(weight_OH.shape[1], p * q * r, 2)


@opaque(_empty_spectrum)
def kernel_spectrum(weight_OH: Tensor, offsets_O3: Tensor, box: list[int]) -> Tensor:
    """Spectrum of every head's kernel, (H, F, 2)."""
    transform = _transform(weight_OH, box)
    x_O, y_O, z_O = _places(offsets_O3, transform.padded)
    kernel = weight_OH.new_zeros(weight_OH.shape[1], *transform.padded)
    kernel[:, x_O, y_O, z_O] = weight_OH.t()
    return torch.view_as_real(transform.of_kernel(kernel))


def _empty_weights(correlation: Tensor, offsets_O3: Tensor, box: list[int]) -> Tensor:
    return correlation.new_empty(offsets_O3.shape[0], correlation.shape[0])


@opaque(_empty_weights)
def kernel_weights(correlation_HF2: Tensor, offsets_O3: Tensor, box: list[int]) -> Tensor:
    """The correlations whose spectra are given, at the stencil's offsets, (O, H)."""
    transform = _transform(correlation_HF2, box)
    x_O, y_O, z_O = _places(offsets_O3, transform.padded)
    kernel = transform.to_kernel(torch.view_as_complex(correlation_HF2.contiguous()))
    return kernel[:, x_O, y_O, z_O].t().contiguous()


class _Spectrum(torch.autograd.Function):
    """Weights to spectra; its gradient expects what :func:`convolve_backward` returns.

    That is the spectrum of the correlation of dL/dm with v, not the derivative by each part.
    """

    @staticmethod
    def forward(ctx: Any, weight_OH: Tensor, offsets_O3: Tensor, box: list[int]) -> Tensor:
        ctx.save_for_backward(offsets_O3)
        ctx.box = box
        spectrum: Tensor = kernel_spectrum(weight_OH, offsets_O3, box)
        return spectrum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (offsets_O3,) = ctx.saved_tensors
        return kernel_weights(grads[0], offsets_O3, ctx.box), None, None


def _blocks(channels: int, heads: int, spectrum_bytes: int) -> list[tuple[slice, slice]]:
    """Channels, and their heads, in slices whose spectra fit into ``BLOCK_BYTES``."""
    step = min(heads, max(1, BLOCK_BYTES // spectrum_bytes))
    return [
        (slice(first + h, first + min(h + step, heads)), slice(h, min(h + step, heads)))
        for first in range(0, channels, heads)
        for h in range(0, heads, step)
    ]


def _convolved(
    boxes_CBXYZ: Tensor,
    spectrum_HF2: Tensor,
    keep: bool,
    box: list[int],
) -> tuple[Tensor, Tensor]:
    channels, batch = boxes_CBXYZ.shape[:2]
    kept = boxes_CBXYZ.new_empty(channels if keep else 0, batch, spectrum_HF2.shape[1], 2)
    return boxes_CBXYZ.new_empty(boxes_CBXYZ.shape), kept


@opaque(_convolved)
def convolve(
    boxes_CBXYZ: Tensor,
    spectrum_HF2: Tensor,
    keep: bool,
    box: list[int],
) -> tuple[Tensor, Tensor]:
    """The sums, and with ``keep`` the spectra of the boxes, (C, B, F, 2), else nothing.

    A few heads at a time, so that a spectrum is used while it is still in the cache.
    """
    transform = _transform(boxes_CBXYZ, box)
    kernel_HF = torch.view_as_complex(spectrum_HF2)
    summed, kept_CBF2 = _convolved(boxes_CBXYZ, spectrum_HF2, keep, box)
    channels, batch = boxes_CBXYZ.shape[:2]
    one = batch * spectrum_HF2[0].nbytes
    for some, heads in _blocks(channels, len(kernel_HF), one):
        block = transform.forward(boxes_CBXYZ[some].flatten(0, 1)).unflatten(0, (-1, batch))
        if keep:
            torch.view_as_complex(kept_CBF2[some]).copy_(block)
        block.mul_(kernel_HF[heads, None])
        summed[some] = transform.inverse(block.flatten(0, 1)).unflatten(0, (-1, batch))
    return summed, kept_CBF2


def _gradients(
    grad_CBXYZ: Tensor,
    spectrum_HF2: Tensor,
    kept_CBF2: Tensor,
    box: list[int],
) -> tuple[Tensor, Tensor]:
    return grad_CBXYZ.new_empty(grad_CBXYZ.shape), torch.empty_like(spectrum_HF2)


@opaque(_gradients)
def convolve_backward(
    grad_CBXYZ: Tensor,
    spectrum_HF2: Tensor,
    kept_CBF2: Tensor,
    box: list[int],
) -> tuple[Tensor, Tensor]:
    """Gradient of the boxes, and the spectrum of the correlation of ``grad`` with the boxes.

    The latter is left at zero where no spectra were kept.
    """
    transform = _transform(grad_CBXYZ, box)
    kernel_HF = torch.view_as_complex(spectrum_HF2).conj().resolve_conj()
    correlation_HF = torch.zeros_like(kernel_HF)
    grad_boxes = grad_CBXYZ.new_empty(grad_CBXYZ.shape)
    channels, batch = grad_CBXYZ.shape[:2]
    one = batch * spectrum_HF2[0].nbytes
    for some, heads in _blocks(channels, len(kernel_HF), one):
        block = transform.forward(grad_CBXYZ[some].flatten(0, 1)).unflatten(0, (-1, batch))
        if len(kept_CBF2):
            boxes = torch.view_as_complex(kept_CBF2[some])
            correlation_HF[heads] += torch.linalg.vecdot(boxes, block, dim=1)
        block.mul_(kernel_HF[heads, None])
        grad_boxes[some] = transform.inverse(block.flatten(0, 1)).unflatten(0, (-1, batch))
    return grad_boxes, torch.view_as_real(correlation_HF)
