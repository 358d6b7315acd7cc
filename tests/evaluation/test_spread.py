from __future__ import annotations

import numpy as np
import pytest

from latticegraph.evaluation import effective_rank, embedding_spread, pairwise_cosine


def test_pairwise_cosine_is_the_mean_over_all_pairs():
    rows = np.random.default_rng(0).normal(size=(7, 5)) + 0.7
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = [unit[i] @ unit[j] for i in range(7) for j in range(7) if i != j]
    assert pairwise_cosine(rows) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_pairwise_cosine_knows_the_ends_of_its_range():
    assert pairwise_cosine(np.outer([1.0, 2.0, 0.5], [3.0, 4.0])) == pytest.approx(1)
    simplex = np.eye(4) - 0.25
    assert pairwise_cosine(simplex) == pytest.approx(-1 / 3)
    assert pairwise_cosine(np.array([[0.0, 0.0], [1.0, 0.0]])) == 0


@pytest.mark.parametrize("shape", [(40, 9), (9, 40)])
def test_effective_rank_is_that_of_the_singular_values(shape):
    rows = np.random.default_rng(1).normal(size=shape)
    sigma = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    sigma = sigma[sigma > 1e-9]
    share = sigma / sigma.sum()
    assert effective_rank(rows) == pytest.approx(np.exp(-(share * np.log(share)).sum()), abs=1e-6)


def test_effective_rank_counts_equal_directions_and_sees_a_collapse():
    corners = np.concatenate([np.eye(6), -np.eye(6)])
    assert effective_rank(corners[:, :3]) == pytest.approx(3)
    assert effective_rank(np.outer([1.0, -2.0, 5.0], [1.0, 2.0])) == pytest.approx(1, abs=1e-6)
    assert effective_rank(np.ones((5, 4))) == 0
    many = np.random.default_rng(2).normal(size=(3000, 4))
    assert effective_rank(many) == pytest.approx(4, abs=0.05)


def test_spread_compares_with_the_targets_and_leaves_out_a_single_row():
    target = np.random.default_rng(3).normal(size=(50, 8))
    found = embedding_spread(target.mean(0) + 1e-3 * target[:, :1], target)
    assert found["effective_rank"] < 1.01 < 6 < found["target_effective_rank"]
    assert found["target_pairwise_cosine"] < 0.1
    assert embedding_spread(target[:1], target[:1]) == {}
