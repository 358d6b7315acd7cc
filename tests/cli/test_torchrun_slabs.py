"""The train script under torchrun with one cube in slabs, against the script alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from latticegraph.training import MACHINE_FIELDS

ROOT = Path(__file__).parents[2]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SLABS = (
    "run.parallel=slabs",
    "lattice.dimensions=[9,4,5]",
    "model.dynamics.steps=9",
    "model.dynamics.min_steps=9",
    "model.aggregation=auto",
    "training.phases=[{name: main, updates: 60, learning_rate: 0.0001}]",
)

pytestmark = pytest.mark.slow


def command(name: str, *options: str, processes: int = 2) -> list[str]:
    script = [str(ROOT / "scripts" / "train.py"), "--config", "small.yaml"]
    starter = TORCHRUN if processes == 2 else ()
    rest = ["--experiment-name", name, "--set", *SLABS, *options]
    return [sys.executable, *starter, *script, *rest]


def run(project: Path, *words: str, processes: int = 2) -> Any:
    return subprocess.run(
        command(*words, processes=processes),
        cwd=project,
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )


def records(project: Path, name: str) -> list[dict[str, Any]]:
    lines = (project / "runs" / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    left_out = {*MACHINE_FIELDS, "cache_hit_rate"}  # the first run fills the cache
    return [{k: v for k, v in row.items() if k not in left_out} for row in rows]


def files(project: Path, name: str) -> list[str]:
    folder = project / "runs" / name
    found = [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()]
    return sorted(path for path in found if "events" not in path)


def explained(project: Path, name: str) -> list[float]:
    rows = records(project, name)
    return [row["explained_variance"] for row in rows if row["kind"] == "validation"]


@pytest.fixture(scope="module")
def two(project: Path) -> str:
    """Name of a run by two processes."""
    done = run(project, "two-slabs")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report: runs/two-slabs/report.md") == 1
    assert done.stderr.count("sums over neighbours: fft") == 1
    return "two-slabs"


def test_slabs_train_the_run_of_one_process(project: Path, two: str) -> None:
    done = run(project, "one-cube", processes=1)
    assert done.returncode == 0, done.stderr
    one = explained(project, "one-cube")
    assert len(one) > 4
    assert explained(project, two) == pytest.approx(one, abs=1e-3)
    assert files(project, two) == files(project, "one-cube")
    reports = [
        json.loads((project / "runs" / name / "report.json").read_text(encoding="utf-8"))
        for name in ("one-cube", two)
    ]
    assert reports[1]["student"] == pytest.approx(reports[0]["student"], rel=5e-3, abs=1e-3)


def test_slabs_go_on_after_an_interruption_bit_for_bit(project: Path, two: str) -> None:
    process = subprocess.Popen(
        command("halted-slabs"),
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    metrics = project / "runs" / "halted-slabs" / "metrics.jsonl"
    try:
        limit = time.monotonic() + 120
        while not (metrics.is_file() and '"kind": "train"' in metrics.read_text("utf-8")):
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert errors.count("interrupted after ") == 1, errors
    assert len(records(project, "halted-slabs")) < len(records(project, two))
    again = run(project, "halted-slabs", "--resume", "true")
    assert again.returncode == 0, again.stderr
    assert records(project, "halted-slabs") == records(project, two)
    for name in ("best", "last"):
        paths = [
            project / "runs" / folder / "checkpoints" / f"{name}.safetensors"
            for folder in (two, "halted-slabs")
        ]
        first, second = (load_file(path) for path in paths)
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_too_many_slabs_are_told_once(project: Path) -> None:
    done = run(project, "thin-slabs", "lattice.adaptive_radius_min=5.0")
    assert done.returncode != 0
    wanted = (
        "error: run.parallel: expected slabs of at least 5 planes (the reach of an edge), got 4"
    )
    assert done.stderr.count(wanted) == 1, done.stderr
    assert not (project / "runs" / "thin-slabs").exists()
