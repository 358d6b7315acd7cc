"""Positional encodings of cells.

Legend: C channels, N cells (those written), F features.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

OCTAVES = 4


def sinusoidal_features(coordinates_N3: Tensor) -> Tensor:
    """Sines and cosines of coordinates at wavelengths 2, 8, 32, 128 cells (Vaswani et al. 2017).

    Shapes:
        (N, 3) -> (N, 24)
    """
    wavelengths = 2.0 * 4.0 ** torch.arange(OCTAVES)
    angles = 2 * math.pi * coordinates_N3[:, :, None] / wavelengths
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)


def fractal_features(coordinates_N3: Tensor, dimensions: tuple[int, int, int]) -> Tensor:
    """Self-similar triangle waves of the relative position, at half the size per octave.

    Octave k is ``2^-k tri(2^k p)`` and the same a quarter period later, with ``p = (coordinate +
    1/2) / side`` in (0, 1) and tri the triangle wave of period 1: the terms of the Takagi curve.
    It depends on p alone, so it transfers between cube sizes.

    Shapes:
        (N, 3) -> (N, 24)
    """
    relative_N3 = (coordinates_N3 + 0.5) / torch.tensor(dimensions)
    scale_K = 2.0 ** torch.arange(OCTAVES)
    angle = relative_N3[:, :, None] * scale_K
    phase = torch.cat([angle, angle + 0.25], dim=2) % 1.0
    triangle = torch.minimum(phase, 1.0 - phase)
    return (triangle / torch.cat([scale_K, scale_K])).flatten(1)


class PositionalEncoding(nn.Module):
    """What tells one cell from another.

    Args:
        kind: ``learned``: one free vector per cell; ``sinusoidal`` and ``fractal``: a learned
            linear map of fixed features, which transfers between cube sizes.
        coordinates_N3: integer coordinates of the cells.
        dimensions: sides of the cube.
        channels: C.
        gain: scale of the initial encoding.

    Shapes:
        () -> (C, N)
    """

    def __init__(
        self,
        kind: Literal["learned", "sinusoidal", "fractal"],
        coordinates_N3: Tensor,
        dimensions: tuple[int, int, int],
        channels: int,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.features_FN: Tensor | None
        if kind == "learned":
            self.register_buffer("features_FN", None)
            width, scale = coordinates_N3.shape[0], 0.5 * gain
        else:
            if kind == "sinusoidal":
                features = sinusoidal_features(coordinates_N3.float())
            else:
                features = fractal_features(coordinates_N3.float(), dimensions)
            self.register_buffer("features_FN", features.t().contiguous(), persistent=False)
            width = features.shape[1]
            scale = 0.5 * gain / math.sqrt(width / 2)
        self.weight = nn.Parameter(torch.randn(channels, width) * scale)

    def forward(self) -> Tensor:
        """The encoding of every cell."""
        return self.weight if self.features_FN is None else self.weight @ self.features_FN
