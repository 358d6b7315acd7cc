"""Two configurations over seeds: what is trained, what is written, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from latticegraph.config import Config, dump_config
from latticegraph.errors import ConfigError
from latticegraph.evaluation import compute_metrics, report_metrics
from latticegraph.pipeline import compare, compare_runs, train
from latticegraph.pipeline.compare_text import comparison_lines, comparison_table
from latticegraph.training import load_checkpoint_model


@pytest.fixture
def files(make_config: Callable[..., Config], tmp_path: Path) -> tuple[Path, Path]:
    """Two configurations that differ in their steps."""
    paths = []
    for name, steps in (("short", 3), ("long", 5)):
        override = f"model.dynamics.steps={steps}"
        path = tmp_path / f"{name}.yaml"
        config = make_config(override, f"run.name={name}")
        path.write_text(dump_config(config), encoding="utf-8")
        paths.append(path)
    return paths[0], paths[1]


def test_compare_pairs_the_seeds_and_reads_the_text_once(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[Any] = []
    original = compare_runs.prepare

    def counted(*arguments: Any) -> Any:
        prepared.append(original(*arguments))
        return prepared[-1]

    monkeypatch.setattr(compare_runs, "prepare", counted)
    result = compare(*files, seeds=2)
    assert len(prepared) == 1
    path = tmp_path / "runs" / "compare-short-long.json"
    assert json.loads(path.read_text(encoding="utf-8")) == result
    names = {f"{name}-seed{seed}" for name in ("short", "long") for seed in (0, 1)}
    assert {p.name for p in (tmp_path / "runs").iterdir() if p.is_dir()} == names
    assert not list((tmp_path / "runs").rglob("report.json"))

    heldout = prepared[0].heldout
    mean_D = prepared[0].train.target_ND.double().mean(0)
    metrics, found = report_metrics("reconstruction", ()), {}
    for name in names:
        best = tmp_path / "runs" / name / "checkpoints" / "best.safetensors"
        made = load_checkpoint_model(best).predict(heldout.source_ND)
        values = compute_metrics(metrics, made, heldout.target_ND, mean_D, heldout.source_ND)
        found[name] = values["explained_variance"]
    for name in ("short", "long"):
        own = result["models"][name]["metrics"]["explained_variance"]
        by_seed = [found[f"{name}-seed0"], found[f"{name}-seed1"]]
        assert own["by_seed"] == pytest.approx(by_seed)
        assert own["mean"] == pytest.approx(np.mean(by_seed))
        assert own["deviation"] == pytest.approx(np.std(by_seed, ddof=1))
        assert own["by_seed"][0] != own["by_seed"][1]
    gaps = [found[f"short-seed{seed}"] - found[f"long-seed{seed}"] for seed in (0, 1)]
    difference = result["difference"]
    assert difference["by_seed"] == pytest.approx(gaps)
    for kind in ("over_seeds", "over_groups"):
        one = difference[kind]
        assert one["explained_variance"] == pytest.approx(np.mean(gaps))
        assert one["low"] < one["explained_variance"] < one["high"]


def test_second_comparison_trains_only_new_seeds(files: tuple[Path, Path], tmp_path: Path) -> None:
    first = compare(*files, seeds=1)
    assert first["difference"]["over_seeds"]["low"] is None
    kept = tmp_path / "runs" / "short-seed0" / "checkpoints" / "last.safetensors"
    before = kept.stat().st_mtime_ns
    second = compare(*files, seeds=2)
    assert kept.stat().st_mtime_ns == before
    for name, model in first["models"].items():
        own = second["models"][name]["metrics"]["explained_variance"]["by_seed"]
        assert own[0] == model["metrics"]["explained_variance"]["by_seed"][0]


def test_run_folder_stands_for_its_own_seed(
    files: tuple[Path, Path], make_config: Callable[..., Config], tmp_path: Path
) -> None:
    report = train(make_config("run.name=done", "run.seed=1"))["report"]
    result = compare(tmp_path / "runs" / "done", files[1], seeds=2)
    own = result["models"]["done"]["metrics"]["explained_variance"]["by_seed"]
    assert own[1] == pytest.approx(report["student"]["explained_variance"])
    folders = {p.name for p in (tmp_path / "runs").iterdir() if p.is_dir()}
    assert folders == {"done", "done-seed0", "long-seed0", "long-seed1"}


def test_interruption_is_passed_on(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = SimpleNamespace(result=SimpleNamespace(reason="interrupted", signal=2))
    monkeypatch.setattr(compare_runs, "fit", lambda *_, **__: stopped)
    assert compare(*files) == {"reason": "interrupted", "signal": 2}


def test_what_cannot_be_compared_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--seeds: expected at least 1 seed, got 0"):
        compare(*files, seeds=0)
    with pytest.raises(ConfigError, match=r"run\.name: expected different names .* 'short' twice"):
        compare(files[0], files[0])
    with pytest.raises(ConfigError, match=r"run\.seed: expected no value for it in a comparison"):
        compare(*files, overrides=["run.seed=3"])
    with pytest.raises(ConfigError, match=r"compare: expected a configuration file or the folder"):
        compare(tmp_path, files[1])
    other = files[1].read_text(encoding="utf-8").replace("split_seed: 0", "split_seed: 1")
    files[1].write_text(other, encoding="utf-8")
    message = r"data\.split_seed: expected the same text and teacher for both models, got 0 and 1"
    with pytest.raises(ConfigError, match=message):
        compare(*files)
    assert not (tmp_path / "runs").exists()


def result_with(seeds: tuple[float, float], groups: tuple[float, float]) -> dict[str, Any]:
    def one(ends: tuple[float, float]) -> dict[str, float]:
        return {"explained_variance": sum(ends) / 2, "low": ends[0], "high": ends[1]}

    score = {"explained_variance": {"mean": 0.5, "deviation": 0.01, "by_seed": [0.49, 0.51]}}
    return {
        "seeds": 2,
        "heldout": {"samples": 200, "groups": 20},
        "models": {name: {"parameters": 1234, "metrics": score} for name in ("a", "b")},
        "difference": {"by_seed": [], "over_seeds": one(seeds), "over_groups": one(groups)},
    }


@pytest.mark.parametrize(
    ("seeds", "groups", "verdict"),
    [
        ((0.01, 0.03), (0.005, 0.035), "a is ahead of b."),
        ((-0.03, -0.01), (-0.035, -0.005), "a is behind b."),
        ((0.01, 0.03), (-0.005, 0.045), "No measurable difference between a and b."),
        ((-0.01, 0.05), (0.005, 0.035), "No measurable difference between a and b."),
        ((-0.03, -0.01), (0.005, 0.035), "No measurable difference between a and b."),
    ],
)
def test_verdict_needs_both_intervals(
    seeds: tuple[float, float], groups: tuple[float, float], verdict: str
) -> None:
    result = result_with(seeds, groups)
    lines = comparison_lines(result)
    assert lines[0] == "explained variance, a minus b:"
    assert lines[1].endswith("over seeds")
    assert lines[2].endswith("over held-out groups")
    assert lines[-1] == verdict
    assert comparison_table(result).row_count == 2


def test_little_text_or_one_seed_gives_no_verdict() -> None:
    result = result_with((0.01, 0.03), (0.01, 0.03))
    result["difference"]["over_seeds"] |= {"low": None, "high": None}
    assert comparison_lines(result)[-1].startswith("No verdict: an interval over seeds needs at")
    result["heldout"]["groups"] = 9
    assert comparison_lines(result)[-1].startswith("No verdict: 200 held-out samples in 9 groups")
