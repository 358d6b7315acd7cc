from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from latticegraph.config import EvaluationSettings
from latticegraph.errors import DataError
from latticegraph.evaluation import (
    Baseline,
    EmbeddingSplit,
    fit_all,
    measure_rows,
    new_baselines,
    report_metrics,
)

Floats = NDArray[np.float64]

QUICK = EvaluationSettings(mlp_hidden=64, baseline_epochs=40)


def fit_baselines(
    train: EmbeddingSplit,
    validation: EmbeddingSplit,
    bottleneck: int,
    settings: EvaluationSettings,
    *,
    seed: int,
    task: str,
    progress: Callable[[str, float], None] | None = None,
) -> list[Baseline]:
    rows = new_baselines(bottleneck, settings, seed=seed, task=task)
    fit_all(rows, train, validation, progress)
    return rows


def splits(
    source: Floats, target: Floats | None = None
) -> tuple[EmbeddingSplit, EmbeddingSplit, EmbeddingSplit]:
    target = source if target is None else target
    train, validation, heldout = (
        EmbeddingSplit(source[part], target[part])
        for part in (slice(480), slice(480, 540), slice(540, 600))
    )
    return train, validation, heldout


def measured(
    source: Floats, target: Floats | None, settings: EvaluationSettings, seed: int, task: str
) -> dict[str, dict[str, float]]:
    train, validation, heldout = splits(source, target)
    rows = fit_baselines(train, validation, 2, settings, seed=seed, task=task)
    mean_D = train.target_ND.mean(axis=0)
    return measure_rows(rows, report_metrics(task, ()), heldout, mean_D)


def test_fit_baselines_reconstruction_order(curved: Floats) -> None:
    results = measured(curved, None, QUICK, 0, "reconstruction")
    assert list(results) == ["mean", "pca", "linear_autoencoder", "mlp_autoencoder"]
    share = {name: row["explained_variance"] for name, row in results.items()}
    assert share["mean"] == 0.0
    assert share["linear_autoencoder"] == pytest.approx(share["pca"], abs=0.05)
    assert share["mlp_autoencoder"] > share["pca"] + 0.05 > share["mean"] + 0.1


def test_fit_baselines_answers_add_identity_and_ranks(curved: Floats) -> None:
    answer = curved @ np.random.default_rng(0).normal(size=(8, 8))
    results = measured(curved, answer, QUICK, 0, "question_answer")
    assert set(results) == {"mean", "identity", "pca", "linear_autoencoder", "mlp_autoencoder"}
    assert all({"mrr", "recall_at_10"} < set(row) for row in results.values())
    assert results["mlp_autoencoder"]["explained_variance"] > 0.1
    assert results["pca"]["mrr"] > results["mean"]["mrr"]


def test_fit_baselines_repeats_with_the_seed(curved: Floats) -> None:
    quick = EvaluationSettings(mlp_hidden=8, baseline_epochs=2)
    runs = [measured(curved, None, quick, 3, "reconstruction") for _ in "ab"]
    assert runs[0] == runs[1]


def test_fit_baselines_reports_every_baseline(curved: Floats) -> None:
    seen: dict[str, float] = {}
    quick = EvaluationSettings(mlp_hidden=8, baseline_epochs=2)
    results = fit_baselines(
        *splits(curved)[:2], 2, quick, seed=0, task="reconstruction", progress=seen.__setitem__
    )
    assert seen == dict.fromkeys((row.name for row in results), 1.0)


def test_fit_baselines_rejects_empty_bottleneck(curved: Floats) -> None:
    with pytest.raises(DataError, match="bottleneck: expected at least 1 number, got 0"):
        fit_baselines(*splits(curved)[:2], 0, QUICK, seed=0, task="reconstruction")


def test_fit_baselines_rejects_single_pair(curved: Floats) -> None:
    one = EmbeddingSplit(curved[:1], curved[:1])
    with pytest.raises(DataError, match="train: expected at least 2 pairs, got 1"):
        fit_baselines(one, one, 2, QUICK, seed=0, task="reconstruction")


def test_embedding_split_names_the_split(curved: Floats) -> None:
    with pytest.raises(DataError, match=r"heldout\.source: expected the shape of heldout\.target"):
        EmbeddingSplit.of("heldout", curved[:3], curved[:2])
