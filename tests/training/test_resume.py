"""Straight through == stop and go on, bit for bit."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from latticegraph.training import read_checkpoint

DROPOUT = {"transformer": {"kind": "autoencoder", "dropout": 0.3}}


def _config(configure):
    """Two phases, one of them freezing; accumulation; dropout; log lines that straddle the stop."""
    phases = [
        {"name": "warm-up", "updates": 7, "warmup": 0.9, "schedule": "constant"},
        {"name": "main", "epochs": 2, "learning_rate": 0.004},
        {"name": "experts", "updates": 4, "schedule": "linear", "train": "experts"},
    ]
    return configure(
        model=DROPOUT,
        training={"phases": phases, "batch_size": 4, "accumulate": 2, "log_every": 3},
    )


def _interrupt(trainer, number, at_pass):
    """Send a signal in the middle of the ``at_pass``-th training pass of the trainer's fit."""
    count = 0

    def send(module, *_):
        nonlocal count
        count += module.training
        if count == at_pass and module.training:
            os.kill(os.getpid(), number)

    trainer.student.register_forward_pre_hook(send)


def _assert_same(one, two):
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


# Passes 12 and 13 belong to updates 6 and 7, inside the first and the second epoch of 5 updates.
@pytest.mark.parametrize(
    ("number", "at_pass", "updates"),
    [
        (signal.SIGINT, 12, 6),
        (signal.SIGTERM, 13, 7),
        (signal.SIGTERM, 10, 5),
        (signal.SIGINT, 37, 19),
    ],
)
def test_interrupted_run_goes_on_bit_for_bit(
    configure, make, records, tensors, number, at_pass, updates
):
    config = _config(configure)
    straight = make(config, "straight")
    assert straight.fit().updates == 21
    stopped = make(config, "stopped")
    _interrupt(stopped, number, at_pass)
    result = stopped.fit()
    assert (result.reason, result.signal, result.updates) == ("interrupted", number, updates)
    resumed = make(config, "stopped", cache_hit_rate=1.0)
    assert resumed.fit(result.last_checkpoint).reason == "finished"
    _assert_same(tensors(straight), tensors(resumed))
    assert records(straight) == records(resumed)


def test_run_killed_after_the_checkpoint_goes_on_from_it(configure, make, records, tensors, curve):
    config = _config(configure)
    straight = make(config, "straight")
    straight.fit()
    killed = make(config, "killed")

    def die(module, *_):
        # In update 14, four updates and one log line after the checkpoint.
        if killed.state.progress.update == 13 and module.training:
            raise MemoryError

    killed.student.register_forward_pre_hook(die)
    with pytest.raises(MemoryError):
        killed.fit()
    assert records(killed)[-1]["update"] == 12
    assert read_checkpoint(killed.state.folder.last).progress.update == 10
    resumed = make(config, "killed")
    resumed.fit(killed.state.folder.last)
    _assert_same(tensors(straight), tensors(resumed))
    assert records(straight) == records(resumed)
    assert curve(straight.state.folder) == curve(resumed.state.folder)


def test_resume_from_a_periodic_checkpoint_rewinds_the_run(configure, make, records, tensors):
    training = {"phases": [{"name": "main", "epochs": 3}], "checkpoint_every": 1}
    config = configure(model=DROPOUT, training=training)
    straight = make(config, "run")
    straight.fit()
    weights, lines = tensors(straight), records(straight)
    rewound = make(config, "run")
    rewound.fit(straight.state.folder.epoch(2))
    _assert_same(weights, tensors(rewound))
    assert lines == records(rewound)


def test_resume_in_another_folder_takes_metrics_and_best_along(configure, make, records, tensors):
    config = _config(configure)
    straight = make(config, "straight")
    straight.fit()
    stopped = make(config, "first")
    _interrupt(stopped, signal.SIGTERM, 13)
    stopped.fit()
    moved = make(config, "second")
    result = moved.fit(stopped.state.folder.last)
    _assert_same(tensors(straight), tensors(moved))
    assert records(straight) == records(moved)
    assert result.best_checkpoint.is_file()
    assert len(records(stopped)) < len(records(moved))


def test_last_checkpoints_of_equal_runs_hold_equal_tensors(configure, make):
    config = _config(configure)
    straight, stopped = make(config, "straight"), make(config, "stopped")
    straight.fit()
    _interrupt(stopped, signal.SIGINT, 12)
    stopped.fit()
    make(config, "stopped").fit(stopped.state.folder.last)
    one, two = (
        read_checkpoint(straight.state.folder.last),
        read_checkpoint(stopped.state.folder.last),
    )
    for part in ("student", "optimizer", "random", "means"):
        _assert_same(getattr(one, part), getattr(two, part))


def test_second_sigint_raises_and_leaves_the_checkpoint(configure, make):
    trainer = make(configure())
    _interrupt(trainer, signal.SIGINT, 7)

    def again(module, *_):
        if trainer.state.progress.update == 6 and module.training:
            os.kill(os.getpid(), signal.SIGINT)

    trainer.student.register_forward_hook(again)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert signal.getsignal(signal.SIGINT) is before
    assert read_checkpoint(trainer.state.folder.last).progress.update == 5


def test_update_learning_rates_after_a_resume_follow_the_plan(configure, make, records):
    config = _config(configure)
    trainer = make(config)
    _interrupt(trainer, signal.SIGTERM, 9)
    trainer.fit()
    resumed = make(config)
    resumed.fit(trainer.state.folder.last)
    for row in (row for row in records(resumed) if row["kind"] == "train"):
        assert row["learning_rate"] == resumed.state.plan.at(row["update"] - 1).learning_rate


def test_float16_goes_on_bit_for_bit_with_the_scale_of_its_loss(configure, make, records, tensors):
    phases = [{"name": "main", "updates": 15}]
    config = configure(training={"phases": phases, "precision": "float16", "log_every": 1})
    first = 2.0**40  # overflows, so that the scale falls before and after the stop
    trainers = {}
    for name in ("straight", "stopped"):
        trainers[name] = make(config, name)
        scaler = trainers[name].state.scaler
        scaler.load_state_dict(scaler.state_dict() | {"scale": first})
    _interrupt(trainers["stopped"], signal.SIGTERM, 6)
    stopped = trainers["stopped"].fit()
    assert (stopped.reason, stopped.updates) == ("interrupted", 6)
    assert trainers["stopped"].state.scaler.get_scale() < first
    trainers["straight"].fit()
    resumed = make(config, "stopped")
    resumed.fit(stopped.last_checkpoint)
    state = trainers["straight"].state.scaler.state_dict()
    assert resumed.state.scaler.state_dict() == state
    assert 1 < state["scale"] < first
    _assert_same(tensors(trainers["straight"]), tensors(resumed))
    assert records(trainers["straight"]) == records(resumed)
