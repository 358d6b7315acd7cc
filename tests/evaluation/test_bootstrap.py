"""Intervals: the right value, the right width, groups and not samples."""

from __future__ import annotations

import numpy as np
import pytest

from latticegraph.errors import DataError
from latticegraph.evaluation import GroupBootstrap, compute_metrics, report_metrics
from latticegraph.evaluation.bootstrap import expanded_tail


def test_difference_is_that_of_the_explained_variances() -> None:
    random = np.random.default_rng(0)
    target, one, two = random.normal(size=(3, 50, 4))
    metrics, mean = report_metrics("reconstruction", ()), np.zeros(4)
    wanted = [
        compute_metrics(metrics, p, target, mean, target)["explained_variance"] for p in (one, two)
    ]
    bootstrap = GroupBootstrap([str(i % 7) for i in range(50)], np.square(target).sum(axis=1))
    error_one, error_two = (np.square(target - p).sum(axis=1) for p in (one, two))
    found = bootstrap.differences(error_one, {"two": error_two, "itself": error_one})
    assert found["two"].value == pytest.approx(wanted[0] - wanted[1])
    assert (found["itself"].value, found["itself"].low, found["itself"].high) == (0, 0, 0)
    assert found["two"].low < found["two"].value < found["two"].high
    assert (bootstrap.samples, bootstrap.groups) == (50, 7)


def test_vectorised_resamples_equal_a_loop() -> None:
    """The same draws, one resample at a time and sample by sample."""
    random = np.random.default_rng(1)
    groups = [f"g{i}" for i in random.integers(0, 6, size=40)]
    own, other, spread = random.uniform(1, 2, size=(3, 40))
    bootstrap = GroupBootstrap(groups, spread, seed=5, resamples=200)
    found = bootstrap.differences(own, {"other": other})["other"]
    names = list(dict.fromkeys(groups))
    draws = np.random.default_rng(5).integers(0, 6, size=(200, 6))
    values = []
    for row in draws:
        rows = [i for code in row for i, group in enumerate(groups) if group == names[code]]
        values.append((other[rows] - own[rows]).sum() / spread[rows].sum())
    tail = expanded_tail(6)
    assert [found.low, found.high] == pytest.approx(np.quantile(values, [tail, 1 - tail]))


def test_tail_is_narrower_than_a_plain_percentile_and_approaches_it() -> None:
    assert expanded_tail(10) == pytest.approx(0.0086, abs=2e-4)
    assert expanded_tail(10) < expanded_tail(100) < 0.025
    assert expanded_tail(100_000) == pytest.approx(0.025, abs=1e-4)


@pytest.mark.parametrize(("groups", "truth"), [(12, 0.0), (44, 0.05)])
def test_interval_covers_the_truth_about_as_often_as_it_says(groups: int, truth: float) -> None:
    """Groups share an effect of their own; sizes differ. 300 repetitions: +-0.025 is 2 sigma."""
    hits = 0
    repetitions = 300
    for repetition in range(repetitions):
        random = np.random.default_rng(repetition)
        sizes = random.integers(5, 40, size=groups)
        name = np.repeat(np.arange(groups), sizes)
        shared = random.normal(scale=0.1, size=groups)[name]
        spread = random.uniform(0.8, 1.2, size=len(name))
        gain = truth * spread + shared + random.normal(scale=0.2, size=len(name))
        bootstrap = GroupBootstrap(name.tolist(), spread, resamples=500)
        found = bootstrap.differences(np.ones(len(name)), {"other": 1 + gain})["other"]
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
    assert 0.91 <= hits / repetitions <= 0.985


def test_samples_of_one_group_are_drawn_together() -> None:
    """Where all of a group are alike, 10 times the samples are no better known."""
    random = np.random.default_rng(0)
    gain = random.normal(size=20)
    widths = []
    for copies in (1, 10):
        error, groups = np.repeat(gain, copies) + 5, np.repeat(np.arange(20), copies).tolist()
        bootstrap = GroupBootstrap(groups, np.ones(len(error)))
        found = bootstrap.differences(np.full(len(error), 5.0), {"other": error})["other"]
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert widths[1] == pytest.approx(widths[0])


def test_one_group_has_no_interval() -> None:
    found = GroupBootstrap(["a"] * 5, np.ones(5)).differences(np.zeros(5), {"b": np.ones(5)})["b"]
    assert found.to_json() == {"explained_variance": 1.0, "low": None, "high": None}


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(DataError, match=r"groups: expected one group per sample \(3\), got 2"):
        GroupBootstrap(["a", "b"], np.ones(3))
    with pytest.raises(DataError, match="held-out embeddings that differ from the training mean"):
        GroupBootstrap(["a", "b"], np.zeros(2))
