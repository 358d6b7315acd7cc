from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticegraph.evaluation import ranking
from latticegraph.evaluation.ranking import own_target_ranks, unit_rows

ZERO = np.zeros(2)


def test_unit_rows_keeps_zero_rows() -> None:
    assert unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[0.6, 0.8], [0.0, 0.0]]


def test_ranks_hand_computed() -> None:
    target = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    prediction = np.array([[2.0, 0.1], [1.0, 0.5], [1.0, -0.1]])
    # sample 1 is nearer to target 0; sample 2's own target is the farthest
    assert own_target_ranks(prediction, target, ZERO).tolist() == [1, 2, 3]


def test_ranks_are_about_the_training_mean() -> None:
    mean = np.array([10.0, 0.0])
    target = mean + np.array([[1.0, 0.0], [-1.0, 0.0]])
    prediction = mean + np.array([[0.5, 0.0], [-0.5, 0.0]])
    assert own_target_ranks(prediction, target, mean).tolist() == [1, 1]
    # without the mean all point the same way, and ties count against the prediction
    assert own_target_ranks(prediction, target, ZERO).tolist() == [2, 2]


def test_ranks_constant_prediction_finds_nothing() -> None:
    target = np.random.default_rng(0).normal(size=(30, 4))
    mean = target.mean(axis=0)
    assert (own_target_ranks(np.tile(mean, (30, 1)), target, mean) == 30).all()


def test_ranks_identical_targets_count_as_own() -> None:
    target = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert own_target_ranks(target, target, ZERO).tolist() == [1, 1, 1]
    assert own_target_ranks(-target, target, ZERO).tolist() == [2, 2, 2]


@pytest.mark.parametrize("block", [1, 7, 50])
def test_ranks_do_not_depend_on_block_size(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    rng = np.random.default_rng(0)
    target, prediction = rng.normal(size=(2, 13, 3))
    whole = own_target_ranks(prediction, target, np.zeros(3))
    monkeypatch.setattr(ranking, "_BLOCK_NUMBERS", block)
    assert own_target_ranks(prediction, target, np.zeros(3)).tolist() == whole.tolist()


@settings(deadline=None, max_examples=20, derandomize=True)
@given(seed=st.integers(0, 10_000), copies=st.integers(0, 3))
def test_ranks_equal_naive_loop(seed: int, copies: int) -> None:
    rng = np.random.default_rng(seed)
    target, prediction = rng.normal(size=(2, 9, 3))
    target[:copies] = target[8]
    mean = rng.normal(size=3)
    cosine = unit_rows(prediction - mean) @ unit_rows(target - mean).T
    for i, rank in enumerate(own_target_ranks(prediction, target, mean)):
        better = {tuple(t) for t, c in zip(target, cosine[i], strict=True) if c > cosine[i, i]}
        assert rank == 1 + len(better - {tuple(target[i])})
