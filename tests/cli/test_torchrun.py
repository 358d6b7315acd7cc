"""The train script under torchrun, with two processes, against the script alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
LONG = "training.phases=[{name: long, updates: 1000}]"

pytestmark = pytest.mark.slow


def command(name: str, *options: str, processes: int = 2) -> list[str]:
    script = [str(ROOT / "scripts" / "train.py"), "--config", "small.yaml"]
    starter = TORCHRUN if processes == 2 else ()
    return [sys.executable, *starter, *script, "--experiment-name", name, *options]


def run(project: Path, name: str, *options: str, processes: int = 2) -> Any:
    return subprocess.run(
        command(name, *options, processes=processes),
        cwd=project,
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )


def report(project: Path, name: str) -> dict[str, Any]:
    text = (project / "runs" / name / "report.json").read_text(encoding="utf-8")
    result: dict[str, Any] = json.loads(text)
    return result


def test_torchrun_trains_the_run_of_one_process_and_speaks_once(project: Path) -> None:
    one, two = run(project, "one", processes=1), run(project, "two")
    assert one.returncode == 0, one.stderr
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("report: runs/two/report.md") == 1
    assert two.stdout.count("MLP autoencoder") == one.stdout.count("MLP autoencoder")
    assert two.stderr.count("report: measuring on held-out text") == 1
    assert [path.name for path in (project / "runs").glob("two*")] == ["two"]
    first, second = report(project, "one"), report(project, "two")
    for key in ("student", "lattice_off", "lattice_off_retrained"):
        assert second[key] == pytest.approx(first[key], rel=1e-3, abs=1e-4)
    assert len(list((project / "runs" / "two" / "tensorboard").glob("events*"))) == 1


def test_ctrl_c_under_torchrun_stops_all_and_one_process_goes_on(project: Path) -> None:
    process = subprocess.Popen(
        command("halted", "--set", LONG),
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    metrics = project / "runs" / "halted" / "metrics.jsonl"
    try:
        limit = time.monotonic() + 120
        while not (metrics.is_file() and '"kind": "train"' in metrics.read_text("utf-8")):
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode != 0
    assert errors.count("interrupted after ") == 1, errors
    assert "AnotherFailed" not in errors
    last = project / "runs" / "halted" / "checkpoints" / "last.safetensors"
    assert last.is_file()
    again = run(project, "halted", "--set", LONG, "--resume", "true", processes=1)
    assert again.returncode == 0, again.stderr
    assert report(project, "halted")["training"]["updates"] == 1000


def test_error_under_torchrun_is_told_once(project: Path) -> None:
    done = run(project, "odd", "--set", "training.batch_size=15")
    assert done.returncode != 0
    wanted = "error: training.batch_size: expected a multiple of 2, the processes that share"
    assert done.stderr.count(wanted) == 1, done.stderr
    assert "Set training.batch_size to 14 or 16" in done.stderr
    assert "AnotherFailed" not in done.stderr
    assert not (project / "runs" / "odd").exists()


def test_other_commands_under_torchrun_are_done_by_one(project: Path) -> None:
    done = run(project, "shown", "--print-config")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("parallel: data") == 1
    assert not (project / "runs" / "shown").exists()
