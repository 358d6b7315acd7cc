from __future__ import annotations

import pytest
import torch

from latticegraph.config import RunSettings
from latticegraph.errors import ConfigError
from latticegraph.training import resolve_device
from latticegraph.training.machine import (
    peak_memory_mb,
    random_state,
    restore_random_state,
    training_session,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("exact", [True, False])
def test_session_sets_everything_and_puts_it_back(exact):
    threads = torch.get_num_threads()
    state = torch.get_rng_state()
    drawn = []

    def run():
        with training_session(RunSettings(threads=2, seed=4), CPU, exact):
            assert torch.get_num_threads() == 2
            assert torch.are_deterministic_algorithms_enabled() == exact
            drawn.append(torch.rand(3))
            raise KeyError

    with pytest.raises(KeyError):
        run()
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.equal(torch.get_rng_state(), state)
    with training_session(RunSettings(seed=4), CPU, exact):
        assert torch.equal(torch.rand(3), drawn[0])
        assert torch.get_num_threads() == threads


def test_random_state_round_trip_repeats_the_numbers():
    state = random_state(CPU)
    first = torch.rand(5)
    restore_random_state(state, CPU)
    assert torch.equal(torch.rand(5), first)
    assert state["cpu"].dtype == torch.uint8


def test_device_by_setting(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device(RunSettings(device="auto")) == CPU
    with pytest.raises(ConfigError, match=r"run\.device: expected a CUDA device .*got none\. Set"):
        resolve_device(RunSettings(device="cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert resolve_device(RunSettings(device="auto")) == torch.device("cuda", 1)
    assert resolve_device(RunSettings(device="cpu")) == CPU


def test_peak_memory_grows_with_a_large_tensor():
    before = peak_memory_mb(CPU)
    held = torch.ones(60_000_000)
    assert peak_memory_mb(CPU) >= before
    assert peak_memory_mb(CPU) > held.nbytes / 1e6
