"""Two models over seeds: both intervals, checked against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from latticegraph.errors import DataError
from latticegraph.evaluation import GroupBootstrap, compare_seeds
from latticegraph.evaluation.seeds import student_interval


def test_interval_over_seeds_is_students() -> None:
    found = student_interval([0.01, 0.02, 0.03])
    half = 4.302653 * 0.01 / math.sqrt(3)
    assert [found.value, found.low, found.high] == pytest.approx([0.02, 0.02 - half, 0.02 + half])


def test_one_seed_has_no_interval() -> None:
    assert student_interval([0.5]).to_json() == {
        "explained_variance": 0.5,
        "low": None,
        "high": None,
    }


def test_seeds_are_paired_and_groups_see_their_mean() -> None:
    bootstrap = GroupBootstrap(["a", "a", "b", "c"], np.full(4, 2.0))
    errors_A = [np.array([1.0, 1.0, 1.0, 1.0]), np.array([0.5, 0.5, 0.5, 0.5])]
    errors_B = [np.array([1.2, 1.0, 1.0, 1.2]), np.array([0.5, 0.9, 0.5, 0.9])]
    found = compare_seeds(errors_A, errors_B, bootstrap)
    assert found.by_seed == pytest.approx((0.4 / 8, 0.8 / 8))
    assert found.over_seeds.value == pytest.approx(0.075)
    mean = [(one + two) / 2 for one, two in (errors_A, errors_B)]
    again = bootstrap.differences(mean[0], {"b": mean[1]})["b"]
    assert found.over_groups == again
    assert again.value == pytest.approx(0.075)


def test_different_numbers_of_seeds_are_refused() -> None:
    bootstrap = GroupBootstrap(["a", "b"], np.ones(2))
    with pytest.raises(DataError, match="seeds: expected as many seeds of both models, got 1 and"):
        compare_seeds([np.ones(2)], [], bootstrap)
