from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from latticegraph.evaluation import MlpAutoencoder, PcaBaseline, compute_metrics, validation_metrics

Floats = NDArray[np.float64]


def share(prediction: Floats, target: Floats, mean: Floats) -> float:
    found = compute_metrics(validation_metrics(()), prediction, target, mean, target)
    return found["explained_variance"]


def test_mlp_autoencoder_starts_at_pca(curved: Floats) -> None:
    mlp, pca = MlpAutoencoder(3, hidden=8, epochs=0), PcaBaseline(3)
    mlp.fit(curved, curved)
    pca.fit(curved, curved)
    np.testing.assert_allclose(mlp.predict(curved), pca.predict(curved), atol=1e-5)


def test_mlp_autoencoder_beats_pca_on_curved_data(curved: Floats) -> None:
    train, held = curved[:500], curved[500:]
    mlp, pca = MlpAutoencoder(2, hidden=64, epochs=60), PcaBaseline(2)
    mlp.fit(train, train)
    pca.fit(train, train)
    mean = train.mean(axis=0)
    assert share(mlp.predict(held), held, mean) > share(pca.predict(held), held, mean) + 0.1


def test_mlp_autoencoder_bottleneck_is_exact(curved: Floats) -> None:
    mlp = MlpAutoencoder(3, hidden=8, epochs=1)
    mlp.fit(curved, curved)
    assert mlp.network[0](torch.zeros(5, 8)).shape == (5, 3)
    wide = MlpAutoencoder(20, hidden=8, epochs=1)  # more numbers than dimensions
    wide.fit(curved, curved)
    assert wide.network[0](torch.zeros(5, 8)).shape == (5, 20)
    assert share(wide.predict(curved), curved, curved.mean(axis=0)) > 0.95


def test_mlp_autoencoder_keeps_the_best_epoch(curved: Floats) -> None:
    rng = np.random.default_rng(0)
    source, noise = curved[:40], rng.normal(size=(40, 8))
    held = curved[40:], np.tile(noise.mean(axis=0), (560, 1))  # nothing can be learned
    kept = MlpAutoencoder(8, hidden=64, epochs=20)
    kept.fit(source, noise, validation=held)
    last = MlpAutoencoder(8, hidden=64, epochs=20)
    last.fit(source, noise)
    start = MlpAutoencoder(8, hidden=64, epochs=0)
    start.fit(source, noise)

    def error(model: MlpAutoencoder) -> float:
        return float(np.square(model.predict(held[0]) - held[1]).mean())

    assert error(kept) <= error(start) < error(last)


def test_mlp_autoencoder_seed_decides_and_leaves_global_state(curved: Floats) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    results = []
    for seed in (0, 0, 1):
        mlp = MlpAutoencoder(2, hidden=8, epochs=2, seed=seed)
        mlp.fit(curved, curved)
        results.append(mlp.predict(curved))
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_mlp_autoencoder_reports_progress(curved: Floats) -> None:
    seen: list[tuple[str, float]] = []
    mlp = MlpAutoencoder(2, hidden=4, epochs=4)
    mlp.fit(curved, curved, progress=lambda name, part: seen.append((name, part)))
    assert seen == [("mlp_autoencoder", part / 4) for part in (1, 2, 3, 4)]
