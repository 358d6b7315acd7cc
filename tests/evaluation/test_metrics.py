from __future__ import annotations

import numpy as np
import pytest
import torch

from latticegraph.errors import DataError
from latticegraph.evaluation import embedding_metrics, retrieval_metrics, task_metrics


def test_embedding_metrics_hand_computed() -> None:
    mean = np.array([1.0, 0.0])
    target = np.array([[2.0, 0.0], [1.0, 2.0]])
    prediction = np.array([[2.0, 1.0], [1.0, 1.0]])
    metrics = embedding_metrics(prediction, target, mean)
    # errors 1 + 1; spread about the mean 1 + 4
    assert metrics["explained_variance"] == pytest.approx(1 - 2 / 5)
    assert metrics["mse"] == pytest.approx(2 / 4)
    # plain: 4 / (2 sqrt 5) and 3 / (sqrt 5 sqrt 2); centred: 1 / sqrt 2 and 1
    assert metrics["cosine"] == pytest.approx((2 / 5**0.5 + 3 / 10**0.5) / 2)
    assert metrics["centred_cosine"] == pytest.approx((0.5**0.5 + 1) / 2)
    # sample 0 is 45 degrees from both targets: a tie, not a hit
    assert metrics["recall_at_1"] == 0.5


def test_embedding_metrics_perfect_and_mean() -> None:
    target = np.random.default_rng(0).normal(size=(40, 5)) + 2
    mean = np.full(5, 1.9)
    perfect = embedding_metrics(target, target, mean)
    assert perfect == pytest.approx(
        {
            "explained_variance": 1,
            "cosine": 1,
            "centred_cosine": 1,
            "mse": 0,
            "recall_at_1": 1,
        }
    )
    flat = embedding_metrics(np.tile(mean, (40, 1)), target, mean)
    assert flat["explained_variance"] == 0
    assert flat["centred_cosine"] == 0
    assert flat["recall_at_1"] == 0
    assert flat["cosine"] > 0.8  # why the plain cosine proves little


def test_embedding_metrics_uses_the_training_mean_not_its_own() -> None:
    target = np.array([[3.0, 0.0], [5.0, 0.0]])
    own_mean = embedding_metrics(np.full((2, 2), [4.0, 0.0]), target, np.zeros(2))
    assert own_mean["explained_variance"] == pytest.approx(1 - 2 / 34)


def test_embedding_metrics_accepts_tensors() -> None:
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    metrics = embedding_metrics(target.clone().requires_grad_(), target, torch.zeros(2))
    assert metrics["explained_variance"] == 1


def test_embedding_metrics_rejects_constant_targets() -> None:
    flat = np.ones((3, 2))
    with pytest.raises(DataError, match="expected held-out embeddings that differ from the train"):
        embedding_metrics(flat, flat, np.ones(2))


def test_retrieval_metrics_hand_computed() -> None:
    # 12 directions on a half circle; each prediction points at the first one
    angle = np.linspace(0, np.pi / 2, 12)
    target = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    metrics = retrieval_metrics(np.tile(target[0], (12, 1)), target, np.zeros(2))
    assert metrics["mrr"] == pytest.approx(sum(1 / rank for rank in range(1, 13)) / 12)
    assert metrics["recall_at_10"] == pytest.approx(10 / 12)


def test_task_metrics_adds_retrieval_for_answers_only() -> None:
    target = np.random.default_rng(0).normal(size=(6, 3))
    plain = task_metrics(target, target, np.zeros(3), "reconstruction")
    answers = task_metrics(target, target, np.zeros(3), "question_answer")
    assert set(answers) - set(plain) == {"mrr", "recall_at_10"}
    assert answers["mrr"] == 1
