from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from latticegraph.config import RunSettings
from latticegraph.errors import ConfigError
from latticegraph.training import resolve_device
from latticegraph.training.machine import (
    StopSignals,
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_remembered_and_handlers_come_back(number):
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    with StopSignals() as stop:
        assert stop.number is None
        os.kill(os.getpid(), number)
        assert stop.number == number
    assert {n: signal.getsignal(n) for n in before} == before


def test_second_sigint_interrupts_and_a_second_sigterm_does_not():
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.number == signal.SIGTERM


def test_another_thread_catches_nothing():
    seen = []

    def run():
        before = signal.getsignal(signal.SIGINT)
        with StopSignals() as stop:
            seen.append((signal.getsignal(signal.SIGINT) is before, stop.number))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(True, None)]


def test_session_on_a_gpu_asks_cublas_for_results_that_repeat(monkeypatch):
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: nullcontext())
    gpu = torch.device("cuda")
    for exact, own, wanted in (
        (True, None, ":4096:8"),
        (False, None, None),
        (True, ":16:8", ":16:8"),
    ):
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
        if own is not None:
            monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", own)
        with training_session(RunSettings(), gpu, exact):
            assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == wanted


def test_peak_memory_of_a_gpu_is_what_torch_held_on_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5_000_000)
    assert peak_memory_mb(torch.device("cuda", 1)) == 5


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="counts in bytes, or not at all")
def test_peak_memory_of_a_process_is_counted_in_units_of_1024_bytes(monkeypatch):
    import resource

    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=500_000))
    assert peak_memory_mb(CPU) == 512
