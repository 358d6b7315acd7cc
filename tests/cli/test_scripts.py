"""The scripts in a process of their own, with a locale that is not UTF-8."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import processes
from tests.cli.conftest import ROOT, interrupted

ENVIRONMENT = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}


def command(script: str, *options: str) -> list[str]:
    return [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *options]


def run(folder: Path, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(script, *options),
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def trained(project: Path) -> subprocess.CompletedProcess[str]:
    """The first run of the project."""
    return run(project, "train", "--config", "small.yaml")


def test_train_script_fills_the_run_folder(
    project: Path, trained: subprocess.CompletedProcess[str]
) -> None:
    assert trained.returncode == 0, trained.stderr
    folder = project / "runs" / "small"
    assert "report: runs/small/report.md" in trained.stdout
    assert "MLP autoencoder" in trained.stdout
    assert "Traceback" not in trained.stderr
    assert "Warning" not in trained.stderr
    names = {path.name for path in folder.iterdir()}
    assert {
        "config.yaml",
        "metrics.jsonl",
        "tensorboard",
        "checkpoints",
        "report.json",
        "report.md",
    } <= names
    assert "🙂" in (folder / "report.md").read_text(encoding="utf-8")


def test_evaluate_script_writes_the_keys_of_the_report(
    project: Path, trained: subprocess.CompletedProcess[str]
) -> None:
    assert trained.returncode == 0, trained.stderr
    done = run(
        project, "evaluate", "--run", "runs/small", "--data", "new.txt", "--json", "out.json"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((project / "out.json").read_text(encoding="utf-8"))
    text = (project / "runs" / "small" / "report.json").read_text(encoding="utf-8")
    report = json.loads(text)
    assert report.keys() <= result.keys()
    for key in ("student", "lattice_off", "lattice_off_retrained"):
        assert result[key].keys() == report[key].keys()
    seen = result["data"]["seen_in_training"]
    assert result["data"]["heldout"] == 15 - seen
    assert f"text: {seen} of 15 samples dropped, the run has seen them in training" in done.stderr


def test_describe_script_counts_the_near_cube(project: Path) -> None:
    config = str(ROOT / "configs" / "8cube_near.yaml")
    done = run(project, "describe_graph", "--config", config, "--json", "graph.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((project / "graph.json").read_text(encoding="utf-8"))
    assert (result["cells"], result["max_radius"], result["crossing_steps"]) == (512, 1.6, 7)
    assert result["edges"] == {"self": 512, "local": 0, "functional": 2688, "distant": 4704}
    assert result["thresholds"] == {"local": 0.16, "functional": 1.04, "distant": 1.6}
    assert {"reach", "warnings", "memory", "degrees"} <= result.keys()
    assert "4,704" in done.stdout
    assert "warning: local edges: only self-edges" in done.stdout


def test_script_error_is_one_line_and_status_2(project: Path) -> None:
    script = str(ROOT / "scripts" / "train.py")
    words = [script, "--config", "small.yaml", "--set", "training.batchsize=3"]
    done = processes.run(words, project)
    assert done.returncode == 2
    assert done.stdout == ""
    wanted = "error: training.batchsize: unknown key. Did you mean training.batch_size?"
    assert done.stderr.startswith(wanted)
    assert done.stderr.count("\n") == 1


def test_interrupted_run_says_how_to_go_on_and_does(project: Path) -> None:
    phases = "training.phases=[{name: long, updates: 400}]"
    options = ("--config", "small.yaml", "--experiment-name", "stopped", "--set", phases)
    unbuffered = ENVIRONMENT | {"PYTHONUNBUFFERED": "1"}
    status, errors = interrupted(command("train", *options), project, "stopped", unbuffered)
    assert status == 128 + signal.SIGINT, errors
    last = errors.strip().split("\n")[-1]
    assert last.startswith("interrupted after ")
    go_on = "--config runs/stopped/config.yaml --resume true"
    assert last.endswith(f"to go on: {sys.executable} {ROOT / 'scripts' / 'train.py'} {go_on}")
    assert not (project / "runs" / "stopped" / "report.json").exists()

    # As typed.
    typed = shlex.split(last.partition("to go on: ")[2])
    assert typed[0] == sys.executable
    done = processes.run(typed[1:], project)
    assert done.returncode == 0, done.stderr
    text = (project / "runs" / "stopped" / "report.json").read_text(encoding="utf-8")
    assert json.loads(text)["training"]["updates"] == 400
    metrics = project / "runs" / "stopped" / "metrics.jsonl"
    updates = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()]
    logged = [row["update"] for row in updates if row["kind"] == "train"]
    assert logged == list(range(10, 401, 10))
