from __future__ import annotations

import numpy as np
import pytest
import torch

from latticegraph.errors import ConfigError, DataError
from latticegraph.evaluation import Metric, compute_metrics, report_metrics
from latticegraph.evaluation.metric import check_metrics


def task_metrics(prediction, target, mean, task):
    return compute_metrics(report_metrics(task, ()), prediction, target, mean, target)


def embedding_metrics(prediction, target, mean):
    return task_metrics(prediction, target, mean, "reconstruction")


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
    metrics = task_metrics(np.tile(target[0], (12, 1)), target, np.zeros(2), "question_answer")
    assert metrics["mrr"] == pytest.approx(sum(1 / rank for rank in range(1, 13)) / 12)
    assert metrics["recall_at_10"] == pytest.approx(10 / 12)


def test_task_metrics_adds_retrieval_for_answers_only() -> None:
    target = np.random.default_rng(0).normal(size=(6, 3))
    plain = task_metrics(target, target, np.zeros(3), "reconstruction")
    answers = task_metrics(target, target, np.zeros(3), "question_answer")
    assert set(answers) - set(plain) == {"mrr", "recall_at_10"}
    assert answers["mrr"] == 1


class Named(Metric):
    def __init__(self, name: str, needs: tuple[str, ...] = (), value: float = 0.0) -> None:
        self.name, self.title, self.needs, self.value = name, name, needs, value
        self.got: dict[str, object] = {}

    def compute(self, **needed: object) -> float:
        self.got = needed
        return self.value


def test_compute_metrics_gives_what_is_needed_and_no_more() -> None:
    target = np.random.default_rng(0).normal(size=(6, 3))
    metric = Named("mine", ("source_ND", "ranks_N"), 2.0)
    assert compute_metrics([metric], target, target, np.zeros(3), target + 1) == {"mine": 2.0}
    assert set(metric.got) == {"source_ND", "ranks_N"}
    np.testing.assert_array_equal(metric.got["source_ND"], target + 1)


def test_compute_metrics_rejects_what_is_no_finite_number() -> None:
    target = np.eye(3)
    with pytest.raises(DataError, match=r"metric mine: expected a finite number, got nan"):
        compute_metrics([Named("mine", (), np.nan)], target, target, np.zeros(3), target)


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        ([Named("usage")], "got 'usage', which is taken"),
        ([Named("a"), Named("a")], "got 'a', which is taken"),
        ([Named("not a name")], "expected Named.name to be an identifier"),
        ([Named("a", ("gates",))], r"expected Named.needs to name some of .*got \['gates'\]"),
    ],
)
def test_check_metrics_names_the_fault(metrics: list[Metric], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_metrics(metrics, "evaluation.metrics.0")
