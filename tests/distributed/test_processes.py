"""Shares of the work, and processes that cannot join."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from latticegraph.config import RunSettings
from latticegraph.distributed import Processes, joined
from latticegraph.errors import ConfigError
from latticegraph.training import resolve_device
from tests.processes import torchrun_variables


@pytest.mark.parametrize("count", [0, 1, 6, 7, 64])
def test_shares_cover_everything_once_and_differ_by_one(count):
    everyone = [Processes(rank, 3) for rank in range(3)]
    things = torch.arange(count)
    parts = [things[processes.own(count)] for processes in everyone]
    assert torch.equal(torch.cat(parts), things)
    assert [len(part) for part in parts] == everyone[0].shares(count)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_missing_variable_of_torchrun_is_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with (
        pytest.raises(ConfigError, match=r"^RANK: expected a number .* got None\. Start several"),
        joined(),
    ):
        pass


# An optimiser imports this late, and with it modules that hold on to a group that exists.
THREADS = """
from pathlib import Path
from latticegraph.distributed import joined
with joined():
    import torch._dynamo
names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
assert names and not [name for name in names if "gloo" in name], names
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="threads have names in /proc")
def test_no_thread_of_gloo_outlives_its_group():
    """One that lets go of a tensor while the interpreter shuts down aborts the process."""
    started = [
        subprocess.Popen([sys.executable, "-c", THREADS], env=os.environ | variables)
        for variables in torchrun_variables(2)
    ]
    try:
        assert [process.wait(240) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()


def test_process_of_one_is_alone(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined() as processes:
        assert (processes.rank, processes.size, processes.is_writer) == (0, 1, True)


def test_processes_more_than_gpus_are_refused(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: taken[-1])
    settings = RunSettings(device="cuda")
    assert resolve_device(settings, Processes(5, 6, 1)) == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match=r"^run\.device: .* got 2 for process number 3.*set run"):
        resolve_device(settings, Processes(2, 3, 2))
