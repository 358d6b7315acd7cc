"""The train script under torchrun, with two processes, against the script alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import interrupted, train, train_command, train_forks

LONG = "training.phases=[{name: long, updates: 500}]"

pytestmark = pytest.mark.slow


def report(project: Path, name: str) -> dict[str, Any]:
    text = (project / "runs" / name / "report.json").read_text(encoding="utf-8")
    result: dict[str, Any] = json.loads(text)
    return result


def test_torchrun_trains_the_run_of_one_process_and_speaks_once(project: Path) -> None:
    one, two = train_forks(project, "one", processes=1), train(project, "two")
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
    status, errors = interrupted(train_command("halted", "--set", LONG), project, "halted")
    assert status != 0
    assert errors.count("interrupted after ") == 1, errors
    assert "AnotherFailed" not in errors
    last = project / "runs" / "halted" / "checkpoints" / "last.safetensors"
    assert last.is_file()
    again = train_forks(project, "halted", "--set", LONG, "--resume", "true", processes=1)
    assert again.returncode == 0, again.stderr
    assert report(project, "halted")["training"]["updates"] == 500


def test_error_of_two_processes_is_told_once(project: Path) -> None:
    done = train_forks(project, "odd", "--set", "training.batch_size=15")
    assert done.returncode != 0
    wanted = "error: training.batch_size: expected a multiple of 2, the processes that share"
    assert done.stderr.count(wanted) == 1, done.stderr
    assert "Set training.batch_size to 14 or 16" in done.stderr
    assert "AnotherFailed" not in done.stderr
    assert not (project / "runs" / "odd").exists()


def test_other_commands_of_two_processes_are_done_by_one(project: Path) -> None:
    done = train_forks(project, "shown", "--print-config")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("parallel: data") == 1
    assert not (project / "runs" / "shown").exists()
