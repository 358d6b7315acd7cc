"""Random features: the readout is the exact ridge regression, and pays where nonlinear maps do."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from latticegraph.evaluation import PcaBaseline, RandomFeatures, random_features
from latticegraph.evaluation.random_features import MOST_FEATURES, PENALTIES, SCALES

Floats = NDArray[np.float64]


def fitted(data: Floats, features: int = 64, seed: int = 0) -> RandomFeatures:
    rows = RandomFeatures(2, features, seed)
    rows.fit(data[:400], data[:400], (data[400:500], data[400:500]))
    return rows


def test_readout_solves_the_normal_equations(curved: Floats) -> None:
    rows, train = fitted(curved, features=16), curved[:400]
    raw = rows._raw(train, rows.scale)
    features = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    residual = train - rows.linear.predict(train)
    left = features.T @ (features @ rows.readout_FD - residual)
    assert left == pytest.approx(-rows.penalty * 400 * rows.readout_FD, rel=1e-5, abs=1e-7)
    assert rows.predict(train) == pytest.approx(
        rows.linear.predict(train) + features @ rows.readout_FD
    )


def test_feature_is_the_silu_of_a_gaussian_map(curved: Floats) -> None:
    rows = fitted(curved, features=3)
    code = rows.linear.encode(curved[:1])[0] / rows.code_scale
    drive = [0.5 * float(code @ rows.map_SF[:, f]) + float(rows.shift_F[f]) for f in range(3)]
    by_hand = [x / (1 + np.exp(-x)) for x in drive]
    assert rows._raw(curved[:1], 0.5)[0] == pytest.approx(by_hand)


def test_beats_pca_where_the_sheet_is_curved(curved: Floats) -> None:
    rows, pca, held = fitted(curved), PcaBaseline(2), curved[500:]
    pca.fit(curved[:400], curved[:400])
    errors = [float(np.square(one.predict(held) - held).sum()) for one in (rows, pca)]
    assert errors[0] < 0.95 * errors[1]


def test_penalty_and_scale_do_best_on_validation(curved: Floats) -> None:
    chosen = fitted(curved)

    def error(rows: RandomFeatures) -> float:
        return float(np.square(rows.predict(curved[400:500]) - curved[400:500]).sum())

    for penalty in PENALTIES:
        for scale in SCALES:
            other = RandomFeatures(2, 64)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(random_features, "PENALTIES", (penalty,))
                patch.setattr(random_features, "SCALES", (scale,))
                other.fit(curved[:400], curved[:400], (curved[400:500], curved[400:500]))
            assert error(chosen) <= error(other) + 1e-9


def test_noise_gets_a_large_penalty() -> None:
    random = np.random.default_rng(0)
    source, target = random.normal(size=(2, 300, 6))
    rows = RandomFeatures(3, 200)
    rows.fit(source[:200], target[:200], (source[200:], target[200:]))
    assert rows.penalty >= 1.0


def test_counts_fitted_numbers_and_cuts_too_many_features(curved: Floats) -> None:
    assert fitted(curved, features=64).parameters == 2 * 8 + 2 * 8 + 64 * 8
    assert RandomFeatures(2, 10**6).features == MOST_FEATURES
