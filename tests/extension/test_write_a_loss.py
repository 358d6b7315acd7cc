from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from latticegraph.config import dump_config
from latticegraph.training import read_checkpoint
from tests import processes
from tests.extension.conftest import VARIANTS, merged, write_page

PAGE = "write_a_loss.md"
TRAIN = Path(__file__).parents[2] / "scripts" / "train.py"


def _curve(run_dir, kind="train"):
    lines = (Path(run_dir) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [row["losses"].get("step") for row in rows if row["kind"] == kind]


def _weights(run_dir):
    stored = read_checkpoint(Path(run_dir) / "checkpoints" / "last.safetensors").student
    return {name: value for name, value in stored.items() if name.startswith("dynamics.")}


@pytest.mark.parametrize("variant", VARIANTS)
def test_term_is_logged_and_changes_what_is_trained(train_page, variant):
    overrides = VARIANTS[variant]
    _, own = train_page(PAGE, *overrides)
    _, plain = train_page(PAGE, *overrides, "losses.extra=[]", "run.name=plain")
    curve = _curve(own["run_dir"])
    assert len(curve) == own["updates"] == 2
    assert all(value > 0 for value in curve)
    assert _curve(plain["run_dir"]) == [None, None]
    one, two = _weights(own["run_dir"]), _weights(plain["run_dir"])
    assert any(not one[name].equal(two[name]) for name in one)


def _real(words):
    command = [sys.executable, *words]
    return subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_two_processes_log_the_curve_of_one(tmp_path, monkeypatch):
    monkeypatch.chdir(write_page(tmp_path, PAGE))
    (tmp_path / "page.yaml").write_text(dump_config(merged(tmp_path, PAGE, ())), encoding="utf-8")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    curves = []
    for name, start in (("one", processes.run), ("two", _real)):
        words = [str(TRAIN), "--config", "page.yaml", "--set", f"run.name={name}"]
        done = start(words if name == "one" else [*launch, *words])
        assert done.returncode == 0, done.stderr
        curves.append(_curve(tmp_path / "runs" / name))
    # Two updates in float32: the sums differ in order only.
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)
