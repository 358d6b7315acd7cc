"""Real discrete Fourier transforms of padded boxes, by matrix products or by FFT.

Legend: G boxes, X Y Z sides, P Q R padded sides, F frequencies kept of P Q R.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import lru_cache

import torch
from torch import Tensor

Sides = tuple[int, int, int]

# Above this padded side the FFT was faster than matrix products, on two CPU cores.
LONGEST_MATRIX = 24
_LARGEST_FACTOR = 11


class Transform(ABC):
    """A real transform of boxes that zeros pad to (P, Q, R), and back to the box.

    Half of the frequencies along the last axis of ``axes`` are redundant and left out.

    Args:
        sides: X, Y, Z.
        padded: P, Q, R.
    """

    axes: Sides

    def __init__(self, sides: Sides, padded: Sides) -> None:
        self.sides = sides
        self.padded = padded
        kept = list(padded)
        kept[self.axes[-1]] = padded[self.axes[-1]] // 2 + 1
        self.kept = tuple(kept)

    @abstractmethod
    def forward(self, x_GXYZ: Tensor) -> Tensor:
        """Spectra of boxes, complex (G, F)."""

    @abstractmethod
    def inverse(self, f_GF: Tensor) -> Tensor:
        """The boxes of spectra, (G, X, Y, Z); what lies in the padding is left out."""

    def of_kernel(self, kernel_GPQR: Tensor) -> Tensor:
        """Spectra of kernels that fill the padded box, complex (G, F)."""
        dims = [axis + 1 for axis in self.axes]
        spectra: Tensor = torch.fft.rfftn(kernel_GPQR, dim=dims)
        return spectra.flatten(1)

    def to_kernel(self, f_GF: Tensor) -> Tensor:
        """The padded boxes of spectra, (G, P, Q, R)."""
        dims = [axis + 1 for axis in self.axes]
        sizes = [self.padded[axis] for axis in self.axes]
        kernels: Tensor = torch.fft.irfftn(f_GF.view(-1, *self.kept), s=sizes, dim=dims)
        return kernels


class FastTransform(Transform):
    """The fast Fourier transform of torch."""

    axes = (0, 1, 2)

    def forward(self, x_GXYZ: Tensor) -> Tensor:
        """Spectra of boxes."""
        spectra: Tensor = torch.fft.rfftn(x_GXYZ, s=self.padded, dim=(1, 2, 3))
        return spectra.flatten(1)

    def inverse(self, f_GF: Tensor) -> Tensor:
        """The boxes of spectra."""
        x, y, z = self.sides
        padded: Tensor = torch.fft.irfftn(f_GF.view(-1, *self.kept), s=self.padded, dim=(1, 2, 3))
        return padded[:, :x, :y, :z].contiguous()


class MatrixTransform(Transform):
    """The same sums axis by axis, each as a product with the matrix of its sines and cosines.

    Nothing is padded: the columns that zeros would meet are left out. Real and imaginary part lie
    side by side, so that every axis is one real product.
    """

    axes = (1, 2, 0)

    def __init__(
        self, sides: Sides, padded: Sides, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__(sides, padded)
        matrices = [_real(sides[0], padded[0])]
        matrices += [_complex(n, length) for n, length in zip(sides[1:], padded[1:], strict=True)]
        back = [_real_inverse(sides[0], padded[0])]
        back += [m.t() / length for m, length in zip(matrices[1:], padded[1:], strict=True)]
        self._x, self._y, self._z = (m.to(device, dtype).contiguous() for m in matrices)
        self._from_x, self._from_y, self._from_z = (m.to(device, dtype).contiguous() for m in back)
        self._z, self._from_z = self._z.t().contiguous(), self._from_z.t().contiguous()

    def forward(self, x_GXYZ: Tensor) -> Tensor:
        """Spectra of boxes."""
        boxes, (x, y, z), (p, q, r) = x_GXYZ.shape[0], self.sides, self.kept
        f = _each(self._x, x_GXYZ.reshape(boxes, x, y * z))
        f = _each(self._y, f.view(boxes * p, 2 * y, z))
        f = f.view(boxes * p * q, 2 * z) @ self._z
        return torch.view_as_complex(f.view(boxes, p * q * r, 2))

    def inverse(self, f_GF: Tensor) -> Tensor:
        """The boxes of spectra."""
        boxes, (x, y, z), (p, q, r) = f_GF.shape[0], self.sides, self.kept
        f = torch.view_as_real(f_GF).reshape(boxes * p * q, 2 * r) @ self._from_z
        f = _each(self._from_y, f.view(boxes * p, 2 * q, z))
        return _each(self._from_x, f.view(boxes, 2 * p, y * z)).view(boxes, x, y, z)


def _each(matrix: Tensor, stack: Tensor) -> Tensor:
    """``matrix @ s`` for every s of a stack; matmul would fold the stack by copying it."""
    return torch.bmm(matrix.expand(stack.shape[0], -1, -1), stack)


def _angles(rows: int, columns: int, length: int) -> Tensor:
    turns = torch.arange(rows)[:, None] * torch.arange(columns) % length
    return turns.to(torch.float64) * (2 * math.pi / length)


def _real(side: int, length: int) -> Tensor:
    """Real numbers to the first half of their spectrum; rows are (frequency, part)."""
    angle = _angles(length // 2 + 1, side, length)
    return torch.stack([angle.cos(), -angle.sin()], dim=1).flatten(0, 1)


def _real_inverse(side: int, length: int) -> Tensor:
    """Inverse transform: the frequencies left out are the conjugates of those kept."""
    angle = _angles(length // 2 + 1, side, length)
    twice = torch.full((length // 2 + 1, 1, 1), 2.0, dtype=torch.float64)
    twice[0] = 1.0
    if length % 2 == 0:
        twice[-1] = 1.0
    parts = torch.stack([angle.cos(), -angle.sin()], dim=1)
    return (parts * twice / length).flatten(0, 1).t()


def _complex(side: int, length: int) -> Tensor:
    """Complex numbers to their spectrum; rows are (frequency, part), columns (part, place)."""
    angle = _angles(length, side, length)
    cos, sin = angle.cos(), angle.sin()
    real, imaginary = torch.stack([cos, sin], dim=1), torch.stack([-sin, cos], dim=1)
    return torch.stack([real, imaginary], dim=1).flatten(2).flatten(0, 1)


def padded_side(side: int, reach: int, periodic: bool, fast: bool) -> int:
    """Length of a circular convolution that equals the wanted one.

    Open: ``side + reach`` zeros keep both ends apart; with ``fast`` the next multiple of 4 with no
    prime factor above 11 (other lengths took up to twice as long). Periodic: the side itself.

    >>> padded_side(37, 7, periodic=False, fast=True), padded_side(64, 12, False, True)
    (44, 80)
    """
    if periodic or not reach:
        return side
    length = side + reach
    while fast and (length % 4 or not _is_smooth(length)):
        length += 1
    return length


def _is_smooth(number: int) -> bool:
    for factor in (2, 3, 5, 7, _LARGEST_FACTOR):
        while number % factor == 0:
            number //= factor
    return number == 1


def padded_sides(sides: Sides, reach: Sides, periodic: bool) -> tuple[Sides, bool]:
    """Lengths of the convolution along the axes, and whether matrix products are the faster way."""

    def padded(fast: bool) -> Sides:
        pairs = zip(sides, reach, strict=True)
        x, y, z = (padded_side(n, r, periodic, fast) for n, r in pairs)
        return x, y, z

    exact = padded(fast=False)
    by_matrix = max(exact) <= LONGEST_MATRIX
    return (exact if by_matrix else padded(fast=True)), by_matrix


def frequencies(sides: Sides, reach: Sides, periodic: bool) -> int:
    """F, complex numbers of one spectrum."""
    (p, q, r), by_matrix = padded_sides(sides, reach, periodic)
    return (p // 2 + 1) * q * r if by_matrix else p * q * (r // 2 + 1)


@lru_cache(maxsize=16)
def make_transform(
    sides: Sides, reach: Sides, periodic: bool, device: torch.device, dtype: torch.dtype
) -> Transform:
    """The faster transform for this box, made once."""
    padded, by_matrix = padded_sides(sides, reach, periodic)
    if by_matrix:
        return MatrixTransform(sides, padded, device, dtype)
    return FastTransform(sides, padded)
