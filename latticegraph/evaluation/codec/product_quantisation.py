"""Optimised product quantisation through faiss.

Legend: N texts, D teacher width, M parts of a vector, Y bytes.
"""

from __future__ import annotations

import importlib.util

import numpy as np

from latticegraph.errors import ConfigError
from latticegraph.evaluation.arrays import Floats
from latticegraph.evaluation.codec.codec import Bytes

MISSING = "faiss is not installed; pip install 'latticegraph[codec]'"


def has_faiss() -> bool:
    """Whether the extra ``codec`` is installed."""
    return importlib.util.find_spec("faiss") is not None


class OpqCodec:
    """A learned rotation, then M parts of the vector, each the index of one of 256 centroids.

    M is the largest divisor of D that fits into the bytes, so a code may be smaller than its
    budget: of 384 dimensions, 192 bytes where 256 are allowed. With fewer than 256 training texts
    there are fewer centroids. Source: Ge, He, Ke and Sun, Optimized product quantization (2013);
    Jegou, Douze and Schmid, Product quantization for nearest neighbor search (2011).

    Args:
        budget_bytes: most bytes per text, at least 1.

    Raises:
        ConfigError: faiss is not installed.
    """

    name = "opq"
    title = "product quantisation (OPQ)"

    def __init__(self, budget_bytes: int) -> None:
        if not has_faiss():
            raise ConfigError(
                "--codec",
                "expected faiss for the row opq, got an environment without it",
                "Install the extra: pip install 'latticegraph[codec]'",
            )
        self.budget_bytes = budget_bytes

    def fit(self, source_ND: Floats) -> None:
        """Learn rotation and centroids. Shapes: [N, D]."""
        # Half a second to import, and an extra that most installations lack.
        import faiss

        samples, width = source_ND.shape
        parts = max(m for m in range(1, min(width, self.budget_bytes) + 1) if width % m == 0)
        bits = min(8, samples.bit_length() - 1)
        self.form = f"{parts} x {bits} bit"
        self.mean_D: Floats = source_ND.mean(axis=0)
        self.quantiser = faiss.ProductQuantizer(width, parts, bits)
        self.quantiser.cp.min_points_per_centroid = 1
        self.rotation = faiss.OPQMatrix(width, parts)
        start = faiss.ProductQuantizer(width, parts, bits)
        start.cp.min_points_per_centroid = 1
        self.rotation.pq = start
        centred_ND = self._centred(source_ND)
        self.rotation.train(centred_ND)
        self.rotation.pq = None  # faiss would keep a pointer to an object that Python frees
        self.quantiser.train(self.rotation.apply(centred_ND))

    def compress(self, source_ND: Floats) -> Bytes:
        """Indices of centroids. Shapes: [N, D] to [N, ceil(M bits / 8)]."""
        stored_NY: Bytes = self.quantiser.compute_codes(
            self.rotation.apply(self._centred(source_ND))
        )
        return stored_NY

    def decompress(self, stored_NY: Bytes) -> Floats:
        """Centroids, rotated back. Shapes: [N, Y] to [N, D]."""
        rotated_ND = self.quantiser.decode(np.ascontiguousarray(stored_NY))
        decoded_ND: Floats = self.rotation.reverse_transform(rotated_ND).astype(np.float64)
        return decoded_ND + self.mean_D

    def _centred(self, source_ND: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.ascontiguousarray(source_ND - self.mean_D, dtype=np.float32)
