from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latticegraph.config import PhaseSettings, TrainingSettings
from latticegraph.distributed import ALONE, Processes
from latticegraph.errors import ConfigError
from latticegraph.training import TrainingPlan, learning_rate
from latticegraph.training.plan import mixed_seed, seed_process


def _phase(**changes):
    return PhaseSettings(**({"name": "x", "updates": 10, "learning_rate": 0.1} | changes))


def test_constant_rate_after_a_linear_rise():
    phase = _phase(schedule="constant", warmup=0.3)
    rates = [learning_rate(phase, update, 10) for update in range(10)]
    assert rates[:3] == pytest.approx([0.025, 0.05, 0.075])
    assert rates[3:] == [0.1] * 7


def test_linear_rate_falls_in_equal_steps_to_the_final_ratio():
    phase = _phase(schedule="linear", final_ratio=0.5)
    rates = [learning_rate(phase, update, 5) for update in range(6)]
    assert rates == pytest.approx([0.1, 0.09, 0.08, 0.07, 0.06, 0.05])


def test_cosine_rate_is_half_way_down_in_the_middle():
    phase = _phase(schedule="cosine", warmup=0.2, final_ratio=0.1)
    assert learning_rate(phase, 2, 10) == 0.1
    assert learning_rate(phase, 6, 10) == pytest.approx(0.1 * (0.1 + 1) / 2)
    assert learning_rate(phase, 9, 10) == pytest.approx(
        0.1 * (0.1 + 0.9 * (1 + math.cos(math.pi * 7 / 8)) / 2)
    )


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    schedule=st.sampled_from(["constant", "linear", "cosine"]),
    warmup=st.floats(0, 0.99),
    final=st.floats(0, 1),
    length=st.integers(1, 30),
)
def test_rate_stays_positive_and_below_its_peak(schedule, warmup, final, length):
    phase = _phase(schedule=schedule, warmup=warmup, final_ratio=final)
    rates = [learning_rate(phase, update, length) for update in range(length)]
    assert all(0 < rate <= 0.1 * (1 + 1e-9) for rate in rates)
    rising = round(warmup * length)
    assert rates[:rising] == sorted(rates[:rising])
    assert rates[rising:] == sorted(rates[rising:], reverse=True)


def _plan(samples=23, seed=0, phases=({"name": "a", "epochs": 2},), **changes):
    return TrainingPlan(
        TrainingSettings(batch_size=4, accumulate=2, phases=phases, **changes), samples, seed
    )


def test_phases_in_epochs_and_updates_lie_end_to_end():
    plan = _plan(phases=({"name": "a", "updates": 3}, {"name": "b", "epochs": 2}))
    assert (plan.updates_per_epoch, plan.lengths, plan.total) == (2, (3, 4), 7)
    moments = [plan.moment(update) for update in range(7)]
    assert [(m.phase, m.phase_update) for m in moments] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3),
    ]  # fmt: skip
    assert [(m.epoch, m.position) for m in moments] == [
        (0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0),
    ]  # fmt: skip
    assert [plan.epochs(done) for done in range(5)] == [0, 1, 1, 2, 2]
    assert [plan.ends_epoch(done) for done in range(1, 5)] == [False, True, False, True]


def _epoch(plan, epoch):
    first = epoch * plan.updates_per_epoch
    return [list(plan.batches(first + update)) for update in range(plan.updates_per_epoch)]


@settings(deadline=None, max_examples=20, derandomize=True)
@given(samples=st.integers(8, 60), seed=st.integers(0, 2**40), epoch=st.integers(0, 5))
def test_an_epoch_shows_no_sample_twice_and_leaves_out_less_than_an_update(samples, seed, epoch):
    updates = _epoch(_plan(samples, seed), epoch)
    shown = torch.cat([batch for update in updates for batch in update])
    assert all(len(update) == 2 for update in updates)
    assert all(len(batch) == 4 for update in updates for batch in update)
    assert len(set(shown.tolist())) == len(shown) > samples - 8
    assert 0 <= int(shown.min()) <= int(shown.max()) < samples


def test_order_depends_on_seed_and_epoch_alone():
    plan = _plan()
    forward = [torch.cat(_epoch(plan, epoch)[0]).tolist() for epoch in (0, 1)]
    backward = [torch.cat(_epoch(_plan(), epoch)[0]).tolist() for epoch in (1, 0)]
    assert forward == backward[::-1]
    assert forward[0] != forward[1]
    assert torch.cat(_epoch(_plan(seed=1), 0)[0]).tolist() not in forward


def test_mixed_seeds_do_not_clash_where_a_sum_would():
    seeds = {mixed_seed(seed, epoch) for seed in range(20) for epoch in range(-1, 20)}
    assert len(seeds) == 20 * 21
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_too_few_samples_for_one_update_are_refused():
    with pytest.raises(
        ConfigError, match=r"training\.batch_size: expected .* of at most 7 .*got 4 \* 2\. Lower"
    ):
        _plan(samples=7)
    assert _plan(samples=8).updates_per_epoch == 1


def test_seed_process_gives_every_process_its_own_numbers_again_and_again():
    def draw(update, rank):
        seed_process(3, update, Processes(rank, 2))
        return float(torch.rand(()))

    assert draw(5, 0) == draw(5, 0)
    assert len({draw(update, rank) for update in range(4) for rank in range(2)}) == 8


def test_seed_process_leaves_the_stream_of_a_single_process():
    before = torch.get_rng_state()
    seed_process(3, 5, ALONE)
    assert torch.equal(torch.get_rng_state(), before)
