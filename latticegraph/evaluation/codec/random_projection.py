"""A random projection as a codec.

Legend: N texts, D teacher width, S numbers of a code.
"""

from __future__ import annotations

import numpy as np

from latticegraph.evaluation.arrays import Floats


class RandomProjectionCodec:
    """Projects on S random orthonormal directions; least squares on training text leads back.

    Source of the projection: Johnson and Lindenstrauss (1984).

    Args:
        numbers: S; at most D directions are used.
        seed: of the directions.
    """

    name = "random_projection"
    title = "random projection"

    def __init__(self, numbers: int, seed: int = 0) -> None:
        self.numbers = numbers
        self.seed = seed

    def fit(self, source_ND: Floats, target_ND: Floats) -> None:
        """Draw the directions and fit the way back. Shapes: [N, D] each."""
        width = source_ND.shape[1]
        self.mean_D: Floats = source_ND.mean(axis=0)
        self.target_mean_D: Floats = target_ND.mean(axis=0)
        self.directions_SD = random_rotation(width, self.seed)[: self.numbers]
        codes_NS = self.encode(source_ND)
        centred_ND = target_ND - self.target_mean_D
        self.weight_SD: Floats = np.linalg.lstsq(codes_NS, centred_ND, rcond=None)[0]

    def encode(self, source_ND: Floats) -> Floats:
        """Projections of the centred embeddings. Shapes: [N, D] to [N, S]."""
        codes_NS: Floats = (source_ND - self.mean_D) @ self.directions_SD.T
        return codes_NS

    def decode(self, codes_NS: Floats) -> Floats:
        """The least-squares embedding. Shapes: [N, S] to [N, D]."""
        decoded_ND: Floats = codes_NS @ self.weight_SD + self.target_mean_D
        return decoded_ND


def random_rotation(width: int, seed: int) -> Floats:
    """A random orthogonal matrix, evenly distributed (QR of a Gaussian matrix, signs fixed).

    Args:
        width: rows and columns.
        seed: of the matrix.

    Shapes:
        result: [width, width].
    """
    gaussian = np.random.default_rng(seed).normal(size=(width, width))
    q, r = np.linalg.qr(gaussian)
    rotation: Floats = q * np.sign(np.diag(r))
    return rotation
