"""Baselines without training: the mean, the question itself, and PCA.

Legend: B samples, D teacher width, S bottleneck.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from latticegraph.evaluation.arrays import Floats


class Baseline(Protocol):
    """A row of the report that learns to map source embeddings to target embeddings."""

    name: str
    title: str

    def fit(self, source_BD: Floats, target_BD: Floats, /) -> None:
        """Learn from training pairs. Shapes: [B, D] each."""

    def predict(self, source_BD: Floats, /) -> Floats:
        """Predicted targets. Shapes: [B, D] to [B, D]."""


class MeanBaseline:
    """Predicts the mean of the training targets: explained variance 0 by definition."""

    name = "mean"
    title = "mean of the training targets"

    def fit(self, source_BD: Floats, target_BD: Floats) -> None:
        """Take the mean. Shapes: [B, D] each."""
        self.mean_D: Floats = target_BD.mean(axis=0)

    def predict(self, source_BD: Floats) -> Floats:
        """The mean, for every sample. Shapes: [B, D] to [B, D]."""
        return np.tile(self.mean_D, (len(source_BD), 1))


class IdentityBaseline:
    """Predicts the question's own embedding: answers often repeat the question's words."""

    name = "identity"
    title = "the question itself"

    def fit(self, source_BD: Floats, target_BD: Floats) -> None:
        """Nothing to learn. Shapes: [B, D] each."""

    def predict(self, source_BD: Floats) -> Floats:
        """The source itself. Shapes: [B, D] to [B, D]."""
        return source_BD


class PcaBaseline:
    """PCA of the source to S numbers, then least squares (with intercept) to the target.

    Where source and target are the same, least squares returns PCA's own inverse, the best linear
    reconstruction there is.

    Args:
        bottleneck: S, numbers per sample; no more than min(samples, D) of them are used.
    """

    name = "pca"
    title = "PCA"

    def __init__(self, bottleneck: int) -> None:
        self.bottleneck = bottleneck

    def fit(self, source_BD: Floats, target_BD: Floats) -> None:
        """Fit the projection and the map back. Shapes: [B, D] each."""
        size = min(self.bottleneck, *source_BD.shape)
        # Takes most of a second to import, which a run need not wait for before its report.
        from sklearn.decomposition import PCA

        self.pca = PCA(size, svd_solver="full").fit(source_BD)
        self.mean_D: Floats = target_BD.mean(axis=0)
        codes_BS = self.encode(source_BD)
        self.weight_SD: Floats = np.linalg.lstsq(codes_BS, target_BD - self.mean_D, rcond=None)[0]

    def encode(self, source_BD: Floats) -> Floats:
        """Centred principal components. Shapes: [B, D] to [B, min(S, B, D)]."""
        codes: Floats = self.pca.transform(source_BD)
        return codes

    def decode(self, codes_BS: Floats) -> Floats:
        """Least squares from components to targets. Shapes: [B, min(S, B, D)] to [B, D]."""
        decoded: Floats = codes_BS @ self.weight_SD + self.mean_D
        return decoded

    def predict(self, source_BD: Floats) -> Floats:
        """Through the bottleneck and back. Shapes: [B, D] to [B, D]."""
        return self.decode(self.encode(source_BD))
