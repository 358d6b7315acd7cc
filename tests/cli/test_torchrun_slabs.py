"""The train script in two processes with one cube in slabs, against the script alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from latticegraph.training import MACHINE_FIELDS
from tests.cli.conftest import interrupted_forks, train_forks

SLABS = (
    "run.parallel=slabs",
    "lattice.dimensions=[9,4,5]",
    "model.dynamics.steps=9",
    "model.dynamics.min_steps=9",
    "model.aggregation=auto",
    "training.phases=[{name: main, updates: 60, learning_rate: 0.0001}]",
)

pytestmark = pytest.mark.slow


def run(project: Path, name: str, *options: str, processes: int = 2) -> Any:
    return train_forks(project, name, "--set", *SLABS, *options, processes=processes)


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
    errors = interrupted_forks(project, "halted-slabs", "--set", *SLABS)
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
