from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from latticegraph.config import EvaluationSettings
from latticegraph.errors import DataError
from latticegraph.evaluation import EmbeddingPairs, fit_baselines

Floats = NDArray[np.float64]

QUICK = EvaluationSettings(mlp_hidden=64, baseline_epochs=40)


def splits(
    source: Floats, target: Floats | None = None
) -> tuple[EmbeddingPairs, EmbeddingPairs, EmbeddingPairs]:
    target = source if target is None else target
    train, validation, heldout = (
        EmbeddingPairs(source[part], target[part])
        for part in (slice(480), slice(480, 540), slice(540, 600))
    )
    return train, validation, heldout


def test_fit_baselines_reconstruction_order(curved: Floats) -> None:
    results = fit_baselines(*splits(curved), 2, QUICK, seed=0, task="reconstruction")
    assert list(results) == ["mean", "pca", "linear_autoencoder", "mlp_autoencoder"]
    share = {name: row["explained_variance"] for name, row in results.items()}
    assert share["mean"] == 0.0
    assert share["linear_autoencoder"] == pytest.approx(share["pca"], abs=0.05)
    assert share["mlp_autoencoder"] > share["pca"] + 0.05 > share["mean"] + 0.1


def test_fit_baselines_answers_add_identity_and_ranks(curved: Floats) -> None:
    answer = curved @ np.random.default_rng(0).normal(size=(8, 8))
    results = fit_baselines(*splits(curved, answer), 2, QUICK, seed=0, task="question_answer")
    assert set(results) == {"mean", "identity", "pca", "linear_autoencoder", "mlp_autoencoder"}
    assert all({"mrr", "recall_at_10"} < set(row) for row in results.values())
    assert results["mlp_autoencoder"]["explained_variance"] > 0.1
    assert results["pca"]["mrr"] > results["mean"]["mrr"]


def test_fit_baselines_repeats_with_the_seed(curved: Floats) -> None:
    quick = EvaluationSettings(mlp_hidden=8, baseline_epochs=2)
    runs = [fit_baselines(*splits(curved), 2, quick, seed=3, task="reconstruction") for _ in "ab"]
    assert runs[0] == runs[1]


def test_fit_baselines_reports_every_baseline(curved: Floats) -> None:
    seen: dict[str, float] = {}
    quick = EvaluationSettings(mlp_hidden=8, baseline_epochs=2)
    results = fit_baselines(
        *splits(curved), 2, quick, seed=0, task="reconstruction", progress=seen.__setitem__
    )
    assert seen == dict.fromkeys(results, 1.0)


def test_fit_baselines_rejects_empty_bottleneck(curved: Floats) -> None:
    with pytest.raises(DataError, match="bottleneck: expected at least 1 number, got 0"):
        fit_baselines(*splits(curved), 0, QUICK, seed=0, task="reconstruction")


def test_fit_baselines_rejects_single_pair(curved: Floats) -> None:
    one = EmbeddingPairs(curved[:1], curved[:1])
    with pytest.raises(DataError, match="train: expected at least 2 pairs, got 1"):
        fit_baselines(one, one, one, 2, QUICK, seed=0, task="reconstruction")


def test_embedding_pairs_names_the_split(curved: Floats) -> None:
    with pytest.raises(DataError, match=r"heldout\.source: expected the shape of heldout\.target"):
        EmbeddingPairs(curved[:3], curved[:2]).checked("heldout")
