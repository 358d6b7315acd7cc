"""Several processes make the updates of one, in float64."""

from __future__ import annotations

import pytest
import torch

pytestmark = pytest.mark.slow

EXACT = {"rtol": 1e-9, "atol": 1e-9}


def assert_same(found, wanted, **close):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, **close, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(
    "job",
    [
        "all terms",
        "own term",
        "adaptive",
        "wire",
        "recomputed",
        "unclipped",
        "weighed",
        "uncertain",
        "softmax",
        "recipe",
    ],
)
def test_updates_of_several_processes_are_those_of_one(results, job, size):
    (one,) = results(1)[1]
    assert any(name.startswith("grad.extractor") for name in one[job])
    for own in results(size)[1]:
        assert_same(own[job], one[job], **EXACT)


def test_mean_of_the_weights_is_among_what_was_compared(results):
    (one,) = results(1)[1]
    assert int(one["recipe"]["average.updates"]) == 4
    name = "extractor.correction.weight"
    assert not torch.equal(one["recipe"][f"average.weights.{name}"], one["recipe"][name])


def test_adaptive_samples_take_different_numbers_of_steps(results):
    (one,) = results(1)[1]
    steps = one["adaptive"]["steps_B"]
    assert len(steps.unique()) > 1
    assert steps.max() < 9, "some rollout must end early for its changes to need padding"


def test_learned_weights_and_shares_are_among_what_was_compared(results):
    (one,) = results(1)[1]
    for job in ("weighed", "uncertain"):
        assert any(name.startswith("weighting.") for name in one[job])
    shares = [one["weighed"][name] for name in one["weighed"] if name.startswith("means.shares.")]
    assert len(shares) == 14
    assert min(shares) > 0
