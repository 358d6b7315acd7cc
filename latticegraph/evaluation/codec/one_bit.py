"""One bit per direction: random rotation, sign, optimal scale.

Legend: N texts, D teacher width, R directions, Y bytes.
"""

from __future__ import annotations

import numpy as np

from latticegraph.evaluation.arrays import Floats
from latticegraph.evaluation.codec.codec import Bytes
from latticegraph.evaluation.codec.random_projection import random_rotation
from latticegraph.evaluation.linear_baselines import PcaBaseline


class OneBitCodec:
    r"""The signs of R randomly rotated principal components.

    .. math:: y = Q P (x - m), \quad b = \mathrm{sign}\, y, \quad
              x' = m + P^T Q^T (a \odot b), \quad a_i = E |y_i|

    With R = D, P is a rotation too and the codec is a plain random rotation with one bit per
    dimension; with fewer bits the components of least variance are dropped first. The rotation
    spreads the variance evenly, so that a Gaussian keeps 2 / pi = 0.637 of it (Max, 1960). Source:
    Gong and Lazebnik, Iterative quantization (2011), whose random start this is.

    Args:
        bits: of a code; at most D of them are used.
        seed: of the rotation.
    """

    name = "one_bit"
    title = "rotated one-bit codes"

    def __init__(self, bits: int, seed: int = 0) -> None:
        self.bits = bits
        self.seed = seed

    def fit(self, source_ND: Floats) -> None:
        """Fit components and scale. Shapes: [N, D]."""
        pca = PcaBaseline(self.bits)
        pca.fit(source_ND, source_ND)
        components_RD: Floats = pca.pca.components_
        self.mean_D: Floats = pca.mean_D
        self.bits = len(components_RD)
        self.form = f"{self.bits} x 1 bit"
        self.directions_RD: Floats = random_rotation(self.bits, self.seed) @ components_RD
        self.scale_R: Floats = np.abs(self._rotated(source_ND)).mean(axis=0)

    def compress(self, source_ND: Floats) -> Bytes:
        """One bit per direction. Shapes: [N, D] to [N, ceil(R / 8)]."""
        return np.packbits(self._rotated(source_ND) > 0, axis=1)

    def decompress(self, stored_NY: Bytes) -> Floats:
        """Scaled signs, rotated back. Shapes: [N, Y] to [N, D]."""
        ones_NR = np.unpackbits(stored_NY, axis=1, count=self.bits).astype(np.float64)
        decoded_ND: Floats = ((2 * ones_NR - 1) * self.scale_R) @ self.directions_RD + self.mean_D
        return decoded_ND

    def _rotated(self, source_ND: Floats) -> Floats:
        rotated_NR: Floats = (source_ND - self.mean_D) @ self.directions_RD.T
        return rotated_NR
