"""Short forms of the scripts that kill processes at random."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL of POSIX")


@pytest.fixture
def cache_kills(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script; what it changes in the store of its own process is put back."""
    from latticegraph.teachers.store import RowStore

    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("read", "append"):
        monkeypatch.setattr(RowStore, name, getattr(RowStore, name))
    return importlib.import_module("cache_kills")


def test_two_processes_killed_while_they_fill_a_cache_lose_and_confuse_nothing(
    cache_kills: ModuleType, tmp_path: Path
) -> None:
    counts = cache_kills.run(tmp_path, kills=3, texts=3000)
    assert cache_kills.is_clean(counts), counts
    assert counts["kills"] == 3
    assert counts["asked"] >= 3000


@pytest.mark.parametrize("what", ["wrong rows", "recomputed"])
def test_what_goes_wrong_is_counted(
    cache_kills: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    counts: dict[str, Any] = {"wrong rows": 0, "recomputed": 0, "asked": 0, "unexpected ends": []}
    cache_kills.work(tmp_path, 0, 40, 0)
    cache_kills._count(tmp_path, 40, counts)
    assert (counts["wrong rows"], counts["recomputed"], counts["asked"]) == (0, 0, 40)
    assert cache_kills.is_clean(counts)
    if what == "wrong rows":
        rows = cache_kills._rows
        monkeypatch.setattr(cache_kills, "_rows", lambda texts: np.nextafter(rows(texts), 9))
        cache_kills._count(tmp_path, 40, counts)
    else:
        lines = (tmp_path / "worker-0-0.jsonl").read_text(encoding="utf-8").splitlines()
        later = lines[0].replace('"time": 1', '"time": 9')
        (tmp_path / "worker-1-0.jsonl").write_text(later + "\n", encoding="utf-8")
        cache_kills._count(tmp_path, 40, counts)
    assert counts[what] > 0
    assert not cache_kills.is_clean(counts)


SMALL = """
lattice: {{dimensions: [3, 3, 3], adaptive_radius_min: 1.6}}
model: {{state_channels: 4, messages: {{heads: 4}}, dynamics: {{steps: 3, min_steps: 3}}}}
teacher: {{kind: array, name: {rows}, texts: {text}, dimension: 12}}
data: {{train: [{text}], min_sentences: 10}}
training: {{batch_size: 16, phases: [{{name: main, updates: 24}}]}}
evaluation: {{mlp_hidden: 8, baseline_epochs: 2, off_epochs: 1, decoded_examples: 2}}
report: {{attribution: none}}
"""


IMPORTED = (
    "latticegraph.pipeline.train_run",
    "matplotlib.figure",
    "scipy.stats",
    "sklearn.decomposition",
    "torch.utils.tensorboard",
)


class Forked:
    """Stands in for ``subprocess.Popen``: a fork of the test, which has imported everything."""

    def __init__(self, command: list[str], stdout: int, stderr: BinaryIO, env: Any) -> None:
        from latticegraph.cli import main

        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.dup2(stderr.fileno(), 2)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                sys.stdout, sys.stderr = (
                    os.fdopen(number, "w", encoding="utf-8", buffering=1) for number in (1, 2)
                )
                status = main(command[command.index("train") :])
            finally:
                os._exit(status)

    def poll(self, how: int = os.WNOHANG) -> int | None:
        if self.returncode is None and (ended := os.waitpid(self.pid, how))[0]:
            self.returncode = os.waitstatus_to_exitcode(ended[1])
        return self.returncode

    def wait(self) -> int | None:
        return self.poll(0)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


@pytest.mark.slow
def test_run_killed_twice_with_another_at_its_heels_ends_like_one_that_nobody_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    chaos = importlib.import_module("chaos")
    lines = [f"Sentence {number} of the café, number {number * number}" for number in range(90)]
    text, rows = tmp_path / "text.txt", tmp_path / "rows.npy"
    text.write_text("\n".join(lines), encoding="utf-8")
    np.save(rows, np.random.default_rng(0).normal(size=(90, 12)).astype(np.float32))
    config = tmp_path / "small.yaml"
    config.write_text(SMALL.format(rows=rows, text=text), encoding="utf-8")
    monkeypatch.setattr(chaos.subprocess, "Popen", Forked)
    for name in IMPORTED:  # once, not in every fork
        importlib.import_module(name)
    counts = chaos.disturb(config, [], tmp_path / "runs", kills=2, seed=1)
    assert chaos.is_clean(counts), counts
    assert counts["kills"] == 2
    assert counts["starts"] >= 4


def test_outcomes_that_differ_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    chaos = importlib.import_module("chaos")
    one = {"a": b"1", "b": [1.0], "c": 2}
    assert chaos.compare(one, dict(one)) == []
    assert chaos.compare(one, {"a": b"1", "b": [1.0 + 1e-15]}) == ["b", "c"]
    clean = {"rounds": 2, "rounds equal": 2, "unexpected ends": []}
    assert chaos.is_clean(clean)
    for change in ({"rounds equal": 1}, {"unexpected ends": ["status 1"]}):
        assert not chaos.is_clean(clean | change)
    assert not chaos.is_clean({"rounds": 0, "rounds equal": 0, "unexpected ends": []})
