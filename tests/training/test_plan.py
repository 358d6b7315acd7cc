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


@pytest.mark.parametrize("length", [101, 150, 384, 1000, 2400, 7120, 99999])
def test_share_of_a_phase_expresses_a_hundred_updates_of_warm_up_before_a_cosine(length):
    for share in (100 / length, round(100 / length, 6)):
        phase = _phase(updates=length, warmup=share, learning_rate=8e-3)
        rates = [learning_rate(phase, update, length) for update in range(length)]
        assert rates[:100] == pytest.approx([8e-3 * (k + 1) / 101 for k in range(100)])
        left = length - 100
        cosine = [4e-3 * (1 + math.cos(math.pi * k / left)) for k in range(left)]
        assert rates[100:] == pytest.approx(cosine)


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


def _plan(samples=23, phases=({"name": "a", "epochs": 2},)):
    return TrainingPlan(TrainingSettings(batch_size=4, accumulate=2, phases=phases), samples)


def test_phases_in_epochs_and_updates_lie_end_to_end():
    plan = _plan(phases=({"name": "a", "updates": 3}, {"name": "b", "epochs": 2}))
    assert (plan.updates_per_epoch, plan.lengths, plan.total) == (2, (3, 4), 7)
    planned = [plan.at(update) for update in range(7)]
    assert [update.number for update in planned] == [1, 2, 3, 4, 5, 6, 7]
    assert [(update.phase, update.phase_update) for update in planned] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3),
    ]  # fmt: skip
    assert [plan.epochs(done) for done in range(5)] == [0, 1, 1, 2, 2]
    assert [plan.ends_epoch(done) for done in range(1, 5)] == [False, True, False, True]


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


@pytest.mark.parametrize(("seed", "drawn"), [(1, 0xE220A8397B1DCDAF), (2, 0x6E789E6AA1B965F4)])
def test_mixed_seeds_are_those_of_split_mix(seed, drawn):
    """The first two numbers of the generator of Steele et al. (2014) that starts at 0."""
    assert mixed_seed(seed, -1) == drawn >> 1
