"""The mean of the weights: its closed form, where it is used, and that a resume keeps it."""

from __future__ import annotations

import signal

import pytest
import torch

from latticegraph.training import load_checkpoint_model, read_checkpoint
from latticegraph.training.optimizer import StudentOptimizer
from latticegraph.training.weight_average import WeightAverage, averaged_weights
from tests.training.test_resume import _interrupt

KEPT = {"average_decay": 0.8}


def _assert_same(one, two):
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def _parameters(student):
    return {name: parameter.detach().clone() for name, parameter in student.named_parameters()}


def test_mean_of_a_known_sequence_is_its_closed_form():
    module = torch.nn.Linear(1, 1).double()
    values, decay = [3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0], 0.25
    average = WeightAverage(module, decay)
    torch.nn.init.constant_(module.weight, 7.0)
    average.begin()
    for value in values:
        average.begin()
        torch.nn.init.constant_(module.weight, value)
        average.add()
    # 2/11, 3/12 = 0.25, 4/13 > 0.25, ...: sum over i of (1 - d_i) w_i prod over j > i of d_j.
    decays = [2 / 11] + [0.25] * 6
    wanted = 7.0
    for d in decays:
        wanted *= d
    for i, value in enumerate(values):
        share = 1 - decays[i]
        for d in decays[i + 1 :]:
            share *= d
        wanted += share * value
    found = averaged_weights(average.tensors())
    assert float(found["weight"]) == pytest.approx(wanted, rel=1e-12)
    # The bias never moved: no rounding may move its mean.
    assert torch.equal(found["bias"], module.bias.detach())
    assert float(module.weight.detach()) == 2.0


def test_decay_close_to_one_rises_with_the_updates():
    module = torch.nn.Linear(1, 1, bias=False).double()
    torch.nn.init.zeros_(module.weight)
    average = WeightAverage(module, 0.998)
    average.begin()
    torch.nn.init.ones_(module.weight)
    left = 1.0
    for n in range(1, 31):
        average.add()
        left *= (1 + n) / (10 + n)
    assert float(averaged_weights(average.tensors())["weight"]) == pytest.approx(1 - left, 1e-12)


def test_weights_are_back_bit_for_bit_after_use_even_after_an_error():
    module = torch.nn.Linear(3, 2)
    average = WeightAverage(module, 0.9)
    average.begin()
    before = module.weight.detach().clone()
    with torch.no_grad():
        module.weight.mul_(1.1)
    average.add()
    latest = module.weight.detach().clone()

    def fail():
        with average.in_use():
            torch.testing.assert_close(module.weight.detach(), before + (latest - before) * 9 / 11)
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        fail()
    assert torch.equal(module.weight, latest)
    unused = WeightAverage(module, 0.0)
    unused.begin()
    unused.add()
    assert unused.tensors() == {}
    with unused.in_use():
        assert torch.equal(module.weight, latest)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_mean_of_a_training_is_that_of_the_weights_after_its_updates(configure, make, accumulate):
    phases = [
        {"name": "both", "updates": 3, "learning_rate": 0.01},
        {"name": "experts", "updates": 4, "learning_rate": 0.01, "train": "experts"},
    ]
    training = KEPT | {"phases": phases, "batch_size": 4, "accumulate": accumulate}
    trainer = make(configure(training=training))
    mean, step = {}, trainer.state.optimizer.step

    def watched(rate, scaler):
        n = trainer.state.progress.update + 1
        if n == 1:
            mean.update(_parameters(trainer.student))
        step(rate, scaler)
        decay = min(0.8, (1 + n) / (10 + n))
        for name, weight in _parameters(trainer.student).items():
            mean[name] = decay * mean[name] + (1 - decay) * weight

    trainer.state.optimizer.step = watched
    trainer.fit()
    found = averaged_weights(trainer.state.optimizer.average.tensors())
    assert found.keys() == mean.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, mean[name], rtol=1e-5, atol=1e-7)


def test_part_frozen_from_the_start_is_its_own_mean(configure, make):
    phases = [{"name": "one", "updates": 6, "learning_rate": 0.01, "train": "experts"}]
    trainer = make(configure(training=KEPT | {"phases": phases}))
    trainer.fit()
    found = averaged_weights(trainer.state.optimizer.average.tensors())
    for name, weight in _parameters(trainer.student).items():
        assert torch.equal(found[name], weight) != name.startswith("dynamics."), name


def test_validation_best_checkpoint_and_model_have_the_mean(configure, make, records, pairs):
    training = KEPT | {"phases": [{"name": "main", "epochs": 3, "learning_rate": 0.01}]}
    trainer = make(configure(training=training))
    result = trainer.fit()
    state = trainer.state
    assert result.best_update == 15, "else the best checkpoint is not that of the last update"
    latest = _parameters(trainer.student)
    raw = trainer.validator.measure(trainer.student, state.objective, 15)
    mean = averaged_weights(state.optimizer.average.tensors())
    assert not any(torch.equal(mean[name], latest[name]) for name in mean)
    validated = [row for row in records(trainer) if row["kind"] == "validation"][-1]
    stored = read_checkpoint(result.best_checkpoint)
    assert all(torch.equal(stored.student[name], latest[name]) for name in latest)
    model = load_checkpoint_model(result.best_checkpoint)
    weights = model.student.state_dict()
    assert all(torch.equal(weights[name], mean[name]) for name in mean)
    assert all(torch.equal(weights[n], stored.student[n]) for n in weights.keys() - mean.keys())
    again = trainer.validator.measure(model.student, state.objective, 15)
    assert again["explained_variance"] == validated["explained_variance"]
    assert raw["explained_variance"] != validated["explained_variance"]
    assert result.best_explained_variance == validated["explained_variance"]


def test_keeping_a_mean_does_not_change_the_weights(configure, make, tensors):
    with_mean, without = make(configure(training=KEPT), "with"), make(configure(), "without")
    with_mean.fit()
    without.fit()
    _assert_same(tensors(with_mean), tensors(without))
    assert read_checkpoint(without.state.folder.last).average == {}


def test_early_stopping_compares_the_means(configure, make, records):
    stopping = {"early_stopping": {"patience": 1, "min_delta": 10.0}}
    phases = {"phases": [{"name": "main", "epochs": 5}]}
    trainer = make(configure(training=KEPT | stopping | phases))
    assert trainer.fit().reason == "early"
    rows = [row for row in records(trainer) if row["kind"] == "validation"]
    assert len(rows) == 2
    model = load_checkpoint_model(trainer.state.folder.last)
    found = trainer.validator.measure(model.student, trainer.state.objective, 5)
    assert found["explained_variance"] == rows[-1]["explained_variance"]


# Dropout, noise and the mean together; the number of the update at which the run is stopped.
@pytest.mark.parametrize("updates", [1, 4, 5, 8])
def test_resume_at_any_update_keeps_mean_and_noise_bit_for_bit(
    configure, make, records, tensors, updates
):
    config = configure(
        model={"mapper": {"readout_dropout": 0.3, "input_noise": 0.2}},
        training=KEPT | {"projection_weight_decay": 0.3, "betas": [0.8, 0.9]},
    )
    straight, stopped = make(config, "straight"), make(config, "stopped")
    straight.fit()
    _interrupt(stopped, signal.SIGTERM, updates)
    result = stopped.fit()
    assert result.updates == updates
    resumed = make(config, "stopped")
    resumed.fit(result.last_checkpoint)
    _assert_same(tensors(straight), tensors(resumed))
    one, two = (trainer.state.optimizer.average.tensors() for trainer in (straight, resumed))
    assert int(one["updates"]) == 10
    _assert_same(one, two)
    assert records(straight) == records(resumed)


def test_restored_mean_shares_no_memory_with_the_checkpoint(configure, build):
    config = configure(training=KEPT)
    optimizer = StudentOptimizer(build(config), config.training)
    optimizer.step(0.1, torch.amp.GradScaler("cpu", enabled=False))
    stored = optimizer.average.tensors()
    other = StudentOptimizer(build(config), config.training)
    other.average.restore(stored)
    _assert_same(stored, other.average.tensors())
    for name, value in averaged_weights(other.average.tensors()).items():
        assert value.data_ptr() != stored[f"weights.{name}"].data_ptr()
    other.average.restore({})
    assert other.average.tensors() == {}
