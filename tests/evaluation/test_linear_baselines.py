from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from latticegraph.evaluation import (
    Baseline,
    IdentityBaseline,
    LinearAutoencoder,
    MeanBaseline,
    PcaBaseline,
    compute_metrics,
    validation_metrics,
)

Floats = NDArray[np.float64]


def share(baseline: Baseline, source: Floats, target: Floats) -> float:
    baseline.fit(source, target)
    prediction = baseline.predict(source)
    mean_D = target.mean(axis=0)
    found = compute_metrics(validation_metrics(()), prediction, target, mean_D, source)
    return found["explained_variance"]


def svd_share(data: Floats, size: int) -> float:
    values = np.linalg.svd(data - data.mean(axis=0), compute_uv=False) ** 2
    return float(values[:size].sum() / values.sum())


def reduced_rank_share(source: Floats, target: Floats, size: int) -> float:
    """The best that any linear map of rank ``size`` can do (reduced-rank regression)."""
    source, target = source - source.mean(axis=0), target - target.mean(axis=0)
    fitted = source @ np.linalg.lstsq(source, target, rcond=None)[0]
    values = np.linalg.svd(fitted, compute_uv=False) ** 2
    return float(values[:size].sum() / np.square(target).sum())


def test_mean_baseline_explains_nothing(curved: Floats) -> None:
    assert share(MeanBaseline(), curved, curved) == 0.0


def test_identity_baseline_returns_the_source(curved: Floats) -> None:
    assert share(IdentityBaseline(), curved, curved) == 1.0
    assert share(IdentityBaseline(), curved[::-1], curved) < 0


@pytest.mark.parametrize("size", [1, 3, 8])
def test_pca_baseline_equals_singular_values(curved: Floats, size: int) -> None:
    assert share(PcaBaseline(size), curved, curved) == pytest.approx(svd_share(curved, size))


def test_pca_baseline_larger_than_data_is_exact(curved: Floats) -> None:
    assert share(PcaBaseline(99), curved, curved) == pytest.approx(1.0)
    assert share(PcaBaseline(99), curved[:3], curved[:3]) == pytest.approx(1.0)


def test_pca_baseline_maps_to_another_target(curved: Floats) -> None:
    mixed = curved @ np.random.default_rng(1).normal(size=(8, 5)) + 3
    assert share(PcaBaseline(8), curved, mixed) == pytest.approx(1.0)
    assert 0.1 < share(PcaBaseline(2), curved, mixed) < 0.99


@pytest.mark.parametrize("size", [1, 3, 8])
def test_linear_autoencoder_descends_to_pca(curved: Floats, size: int) -> None:
    reached = share(LinearAutoencoder(size, seed=1), curved, curved)
    assert reached == pytest.approx(svd_share(curved, size), abs=1e-4)


def test_linear_autoencoder_descends_to_reduced_rank_regression(curved: Floats) -> None:
    rng = np.random.default_rng(1)
    answer = curved @ rng.normal(size=(8, 8)) + 2 * rng.normal(size=(600, 8))
    reached = share(LinearAutoencoder(2), curved, answer)
    best = reduced_rank_share(curved, answer, 2)
    assert reached == pytest.approx(best, abs=1e-4)
    assert best > share(PcaBaseline(2), curved, answer) + 0.01


def test_linear_autoencoder_starts_at_random_and_repeats(curved: Floats) -> None:
    short = [LinearAutoencoder(2, seed=seed, iterations=1) for seed in (0, 0, 1)]
    first, second, other = (share(model, curved, curved) for model in short)
    assert first == second != other
    assert first < svd_share(curved, 2) - 0.01


def test_linear_autoencoder_stops_before_it_overfits() -> None:
    rng = np.random.default_rng(2)
    source = rng.normal(size=(460, 8))
    answer = 0.3 * source @ rng.normal(size=(8, 8)) + 3 * rng.normal(size=(460, 8))
    train, held = slice(20), slice(20, 460)
    stopped, exact = LinearAutoencoder(6), LinearAutoencoder(6)
    stopped.fit(source[train], answer[train], validation=(source[held], answer[held]))
    exact.fit(source[train], answer[train])

    def error(model: LinearAutoencoder, part: slice) -> float:
        return float(np.square(model.predict(source[part]) - answer[part]).mean())

    assert error(stopped, held) < error(exact, held)
    assert error(stopped, train) > error(exact, train)
