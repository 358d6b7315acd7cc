"""Random nonlinear features of a linear code, read by ridge regression: no lattice, no training.

Legend: B samples, D teacher width, S bottleneck, F features.
"""

from __future__ import annotations

import math

import numpy as np

from latticegraph.evaluation.arrays import Floats
from latticegraph.evaluation.linear_baselines import PcaBaseline

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
SCALES = (0.125, 0.25, 0.5, 1.0)
MOST_FEATURES = 4096


class RandomFeatures:
    r"""PCA code, random features of it, and a ridge readout (Rahimi and Recht, 2008).

    .. math:: f = \mathrm{silu}(g A z + b), \qquad
              t = V c + R \, (f - \bar f) / \sigma_f

    c is the PCA code, z the same in units of its root mean square, A Gaussian with variance 1/S, b
    standard normal, and V the least-squares map of the code to the target. R is the ridge
    regression of what V leaves unexplained; its penalty, relative to the variance of the features,
    and the scale g do best on validation.

    Args:
        bottleneck: S, numbers per sample.
        features: F, numbers that the student's readout reads; more than 4,096 are cut to that, for
            the regression takes memory with the square of F.
        seed: of A and b.
    """

    name = "random_features"
    title = "random features"

    def __init__(self, bottleneck: int, features: int, seed: int = 0) -> None:
        self.bottleneck = bottleneck
        self.features = min(features, MOST_FEATURES)
        self.seed = seed

    @property
    def parameters(self) -> int:
        """Fitted numbers: code, linear map and readout, without the random ones."""
        size, width = self.linear.pca.components_.shape
        return int(size * width + self.linear.weight_SD.size + self.readout_FD.size)

    def fit(self, source_BD: Floats, target_BD: Floats, validation: tuple[Floats, Floats]) -> None:
        """Fit code and readout.

        Args:
            source_BD: training sources.
            target_BD: training targets.
            validation: sources and targets that choose penalty and scale.

        Shapes:
            source_BD, target_BD: [B, D].
        """
        self.linear = PcaBaseline(self.bottleneck)
        self.linear.fit(source_BD, target_BD)
        code_BS = self.linear.encode(source_BD)
        self.code_scale = max(float(np.sqrt(np.square(code_BS).mean())), 1e-12)
        random = np.random.default_rng(self.seed)
        size = code_BS.shape[1]
        self.map_SF: Floats = random.normal(size=(size, self.features)) / math.sqrt(size)
        self.shift_F: Floats = random.normal(size=self.features)
        residual_BD = target_BD - self.linear.predict(source_BD)
        wanted_BD = validation[1] - self.linear.predict(validation[0])
        best = math.inf
        for scale in SCALES:
            raw_BF = self._raw(source_BD, scale)
            mean_F, deviation_F = raw_BF.mean(axis=0), raw_BF.std(axis=0)
            deviation_F = np.where(deviation_F > 1e-9, deviation_F, 1.0)
            features_BF = (raw_BF - mean_F) / deviation_F
            held_BF = (self._raw(validation[0], scale) - mean_F) / deviation_F
            gram_FF, cross_FD = features_BF.T @ features_BF, features_BF.T @ residual_BD
            for penalty in PENALTIES:
                readout_FD = _ridge(gram_FF, cross_FD, penalty * len(features_BF))
                error = float(np.square(held_BF @ readout_FD - wanted_BD).sum())
                if error < best:
                    best, self.scale, self.penalty = error, scale, penalty
                    self.mean_F, self.deviation_F = mean_F, deviation_F
                    self.readout_FD: Floats = readout_FD

    def predict(self, source_BD: Floats) -> Floats:
        """Predicted targets. Shapes: [B, D] to [B, D]."""
        features_BF = (self._raw(source_BD, self.scale) - self.mean_F) / self.deviation_F
        result: Floats = self.linear.predict(source_BD) + features_BF @ self.readout_FD
        return result

    def _raw(self, source_BD: Floats, scale: float) -> Floats:
        code_BS = self.linear.encode(source_BD) / self.code_scale
        drive_BF = scale * (code_BS @ self.map_SF) + self.shift_F
        # x * sigmoid(x), in a form that does not overflow.
        result: Floats = drive_BF * 0.5 * (1 + np.tanh(0.5 * drive_BF))
        return result


def _ridge(gram_FF: Floats, cross_FD: Floats, penalty: float) -> Floats:
    """``argmin_W |F W - Y|^2 + penalty * |W|^2`` from ``F^T F`` and ``F^T Y``."""
    # Takes most of a second to import, which a run need not wait for before its report.
    from scipy.linalg import solve

    result: Floats = solve(gram_FF + penalty * np.eye(len(gram_FF)), cross_FD, assume_a="pos")
    return result
