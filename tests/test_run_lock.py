"""One process at a time in a run's folder, and what the others are told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from latticegraph.errors import ConfigError
from latticegraph.run_lock import HOLDER_FILE, RunLock

HOLD = """
import sys
from pathlib import Path
from latticegraph.run_lock import RunLock
with RunLock() as lock:
    lock.take(Path(sys.argv[1]))
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latticegraph.run_lock.PATIENCE", 0.05)


def start_holder(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(folder), "--set", "a b"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_second_process_is_told_who_holds_the_folder_and_a_killed_one_holds_nothing(
    tmp_path: Path,
) -> None:
    process = start_holder(tmp_path)
    try:
        with RunLock() as lock, pytest.raises(ConfigError) as caught:
            lock.take(tmp_path)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path}: expected a run folder in which no other process")
        assert f"held by process {process.pid} on " in message
        assert f"(-c {tmp_path} --set 'a b')" in message
    finally:
        process.kill()
        process.communicate()
    assert (tmp_path / HOLDER_FILE).exists()
    with RunLock() as lock:
        lock.take(tmp_path)
        record = json.loads((tmp_path / HOLDER_FILE).read_text(encoding="utf-8"))
        assert record["process"] == os.getpid()
    assert not (tmp_path / HOLDER_FILE).exists()


def test_lock_ends_with_its_block_also_after_an_error(tmp_path: Path) -> None:
    def work_and_fail() -> None:
        with RunLock() as lock:
            lock.take(tmp_path)
            lock.take(tmp_path)
            raise KeyError

    with pytest.raises(KeyError):
        work_and_fail()
    with RunLock() as lock:
        lock.take(tmp_path)


def test_another_lock_of_the_same_process_is_refused_too(tmp_path: Path) -> None:
    with RunLock() as one, RunLock() as two:
        one.take(tmp_path)
        (tmp_path / HOLDER_FILE).unlink()
        with pytest.raises(ConfigError, match="held by another process"):
            two.take(tmp_path)


def test_folder_that_cannot_be_locked_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with RunLock() as lock, pytest.raises(ConfigError, match=r"run\.output_dir: expected to lock"):
        lock.take(tmp_path / "file" / "below")
