from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latticegraph.config import TrainingSettings
from latticegraph.errors import DataError
from latticegraph.training import EmbeddingPairs, Sampler, TrainingPlan


def test_batch_picks_both_sides_in_order():
    source_ND = torch.arange(12.0).reshape(4, 3)
    pairs = EmbeddingPairs(source_ND, -source_ND)
    batch = pairs.batch(torch.tensor([2, 0]))
    assert batch.source_BD.tolist() == [[6, 7, 8], [0, 1, 2]]
    assert torch.equal(batch.target_BD, -batch.source_BD)
    assert (len(pairs), pairs.width) == (4, 3)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (torch.zeros(3), torch.zeros(3), r"pairs\.source: expected float32 rows .*shape \[3\]"),
        (torch.zeros(0, 3), torch.zeros(0, 3), r"pairs\.source: .*float32 of shape \[0, 3\]"),
        (torch.zeros(2, 0), torch.zeros(2, 0), r"pairs\.source: .*float32 of shape \[2, 0\]"),
        (torch.zeros(2, 3), torch.zeros(2, 3).double(), r"pairs\.target: .*got .*float64"),
        (torch.full((2, 3), torch.nan), torch.zeros(2, 3), r"pairs\.source: expected finite"),
        (torch.zeros(2, 3), torch.full((2, 3), torch.inf), r"pairs\.target: expected finite"),
        (torch.zeros(2, 3), torch.zeros(3, 3), r"pairs\.target: .*sources \[2, 3\] .*got \[3, 3\]"),
    ],
)
def test_pairs_refuse_what_cannot_be_trained_on(source, target, message):
    with pytest.raises(DataError, match=message):
        EmbeddingPairs(source, target)


def _sampler(samples=23, seed=0):
    phases = ({"name": "a", "epochs": 2},)
    tree = TrainingSettings(batch_size=4, accumulate=2, phases=phases)
    rows = torch.arange(2.0 * samples).view(samples, 2)
    return Sampler(EmbeddingPairs(rows, rows + 0.5), TrainingPlan(tree, samples), seed)


def _epoch(sampler, epoch):
    count = sampler.plan.updates_per_epoch
    return [list(sampler.indices(epoch * count + update)) for update in range(count)]


@settings(deadline=None, max_examples=20, derandomize=True)
@given(samples=st.integers(8, 60), seed=st.integers(0, 2**40), epoch=st.integers(0, 5))
def test_an_epoch_shows_no_sample_twice_and_leaves_out_less_than_an_update(samples, seed, epoch):
    updates = _epoch(_sampler(samples, seed), epoch)
    shown = torch.cat([batch for update in updates for batch in update])
    assert all(len(update) == 2 for update in updates)
    assert all(len(batch) == 4 for update in updates for batch in update)
    assert len(set(shown.tolist())) == len(shown) > samples - 8
    assert 0 <= int(shown.min()) <= int(shown.max()) < samples


def test_order_depends_on_seed_and_epoch_alone():
    sampler = _sampler()
    forward = [torch.cat(_epoch(sampler, epoch)[0]).tolist() for epoch in (0, 1)]
    backward = [torch.cat(_epoch(_sampler(), epoch)[0]).tolist() for epoch in (1, 0)]
    assert forward == backward[::-1]
    assert forward[0] != forward[1]
    assert torch.cat(_epoch(_sampler(seed=1), 0)[0]).tolist() not in forward


def test_batches_hold_the_rows_of_their_indices():
    sampler = _sampler()
    for update in (3, 0):
        for index_B, batch in zip(sampler.indices(update), sampler.batches(update), strict=True):
            assert len(batch) == 4
            assert torch.equal(batch.source_BD, sampler.pairs.source_ND[index_B])
            assert torch.equal(batch.target_BD, batch.source_BD + 0.5)


def test_mean_and_variance_are_those_of_the_targets():
    pairs = EmbeddingPairs(torch.rand(3, 2), torch.tensor([[0.0, 1.0], [3.0, 1.0], [3.0, 1.0]]))
    assert pairs.target_mean_D.tolist() == [2.0, 1.0]
    assert pairs.target_variance == 1.0
