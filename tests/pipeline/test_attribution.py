"""Each row of the attribution on runs whose answer is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latticegraph.config import Config, load_config
from latticegraph.data import Sample, Splits
from latticegraph.errors import CheckpointError, ConfigError
from latticegraph.pipeline import evaluate, fit, train
from latticegraph.pipeline.attribution import (
    frozen_checkpoint,
    frozen_config,
    is_frozen,
    untrained,
    wants_frozen,
)
from latticegraph.pipeline.fit_run import FittedRun
from latticegraph.pipeline.prepare import Prepared, prepare
from latticegraph.pipeline.report_run import SideRuns, train_side_runs, write_run_report
from latticegraph.training import EmbeddingPairs, load_checkpoint_model, read_checkpoint

NAMES = ["untrained_lattice", "frozen_lattice", "random_features", "decoder_network"]
WIDTH = 12


def attribution_of(config: Config) -> dict[str, Any]:
    report = train(config)["report"]
    assert report is not None
    return report


def test_full_attribution_has_every_row_with_size_and_interval(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    report = attribution_of(make_config("report.attribution=full"))
    rows = report["attribution"]
    assert list(rows) == NAMES
    for name, row in rows.items():
        assert set(row) == set(report["student"]) | {"parameters", "difference"}
        gap = report["student"]["explained_variance"] - row["explained_variance"]
        difference = row["difference"]
        assert set(difference) == {"explained_variance", "low", "high"}
        assert difference["explained_variance"] == pytest.approx(gap, abs=1e-9)
        assert difference["low"] <= gap + 1e-9
        assert difference["high"] >= gap - 1e-9
        assert report["rows"][f"attribution.{name}"]
    wanted = {"lattice_off", "lattice_off_retrained", "mean", "pca", "linear_autoencoder"}
    assert set(report["differences"]) == wanted | {"mlp_autoencoder"}
    for name in ("untrained_lattice", "frozen_lattice"):
        assert rows[name]["parameters"] == report["parameters"]
    assert abs(rows["decoder_network"]["parameters"] - report["parameters"]) <= WIDTH
    model = load_checkpoint_model(tmp_path / "runs" / "small" / "checkpoints" / "best.safetensors")
    inside = sum(p.numel() for p in model.student.dynamics.parameters())
    assert report["lattice_parameters"] == inside > 0
    assert report["heldout"] == {"samples": report["data"]["heldout"], "groups": 8}
    assert report["training"]["frozen_updates"] == 6
    assert set(report["curves"]) == {"student", "frozen_lattice", "lattice_off_retrained"}
    epochs, _ = zip(*report["curves"]["student"]["explained_variance"], strict=True)
    assert epochs == (0, 1, 2)
    text = (tmp_path / "runs" / "small" / "report.md").read_text(encoding="utf-8")
    assert "No verdict: 8 held-out samples in 8 groups are too few" in text
    assert "| frozen lattice |" in text
    for name in ("report.html", "charts/curves.svg", "charts/differences.png"):
        assert (tmp_path / "runs" / "small" / name).stat().st_size > 0


def test_quick_leaves_out_the_second_training_and_none_all(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    report = attribution_of(make_config("report.attribution=quick"))
    assert list(report["attribution"]) == [n for n in NAMES if n != "frozen_lattice"]
    assert not (tmp_path / "runs" / "small" / "frozen_lattice").exists()
    assert "frozen_updates" not in report["training"]
    report = attribution_of(make_config("report.attribution=none", "run.name=none"))
    assert report["attribution"] == {}
    assert "pca" in report["differences"]


def test_setting_is_checked() -> None:
    assert load_config(None, []).report.attribution == "quick"
    with pytest.raises(ConfigError, match=r"^report\.attribution: expected 'full', 'quick' or 'no"):
        load_config(None, ["report.attribution=fast"])


def test_frozen_lattice_moves_everything_but_the_dynamics(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    """Same start, same batches; every parameter outside the dynamics has moved, none inside."""
    config = make_config("report.attribution=full", "training.phases=[{name: main, updates: 9}]")
    run = fit(config)
    train_side_runs(run)
    start = untrained(run.prepared).student.state_dict()
    best = frozen_checkpoint(run.folder)
    last = load_checkpoint_model(best.with_name("last.safetensors")).student
    names = {name for name, _ in last.named_parameters()}
    still = {n for n in names if torch.equal(last.state_dict()[n], start[n])}
    assert still == {n for n in names if n.startswith("dynamics.")}
    assert {n.split(".")[0] for n in names - still} >= {"transformer", "mapper", "extractor"}
    stored = read_checkpoint(best).config
    assert [phase.train for phase in stored.training.phases] == ["projections"]
    assert stored.run.seed == config.run.seed

    def first(folder: Path) -> dict[str, Any]:
        lines = (folder / "metrics.jsonl").read_text("utf-8").split("\n")
        record = next(one for one in map(json.loads, lines) if one["kind"] == "validation")
        return {k: record[k] for k in ("update", "explained_variance", "losses")}

    assert first(run.folder) == first(run.folder / "frozen_lattice")


def test_untrained_lattice_is_update_0_of_the_run(make_config: Callable[..., Config]) -> None:
    """A run whose best checkpoint is its start is level with it, exactly."""
    config = make_config(
        "report.attribution=quick",
        "training.phases=[{name: main, updates: 4, learning_rate: 0.9}]",
        "model.mapper.volume_init=noise",
        "run.seed=3",
    )
    run = fit(config)
    assert run.result.best_update == 0
    found, wanted = untrained(run.prepared).student, run.best_model().student
    for name, value in wanted.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name


def test_run_that_trains_no_expert_is_its_own_control(make_config: Callable[..., Config]) -> None:
    config = make_config(
        "report.attribution=full",
        "training.phases=[{name: main, updates: 4, train: projections}]",
    )
    assert is_frozen(config)
    assert not wants_frozen(config)
    row = attribution_of(config)["attribution"]["frozen_lattice"]
    assert row["difference"] == {"explained_variance": 0, "low": 0, "high": 0}


def test_phases_of_experts_alone_train_the_projections(make_config: Callable[..., Config]) -> None:
    phases = "[{name: a, updates: 2, train: experts}, {name: b, updates: 3}]"
    config = make_config(f"training.phases={phases}")
    found = frozen_config(config).training.phases
    assert [(p.train, p.updates, p.name) for p in found] == [
        ("projections", 2, "a"),
        ("projections", 3, "b"),
    ]
    assert frozen_config(config).run == config.run


def test_evaluate_measures_the_same_rows_and_names_what_is_missing(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    report = attribution_of(make_config("report.attribution=full"))
    run_dir, new = tmp_path / "runs" / "small", [tmp_path / "new.txt"]
    found = evaluate(run_dir, new)
    assert set(report) <= set(found)
    assert list(found["attribution"]) == NAMES
    assert found["heldout"]["samples"] == found["data"]["heldout"]
    frozen_checkpoint(run_dir).unlink()
    with pytest.raises(CheckpointError, match=r"^report\.attribution: expected a frozen lattice"):
        evaluate(run_dir, new)
    assert "frozen_lattice" not in evaluate(run_dir, new, overrides=["report.attribution=quick"])


def test_decoded_examples_say_when_the_target_was_found(
    make_config: Callable[..., Config],
) -> None:
    examples = attribution_of(make_config())["examples"]
    for example in examples:
        assert example["is_target"] == (example["decoded"] == example["target"])
        assert example["nearest_other"] != example["target"]
        assert example["other_cosine"] <= example["cosine"]
        assert example["searched"] > 50
    assert any(example["is_target"] for example in examples)


Task = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def known_run(config: Config, prepared: Prepared, task: Task) -> dict[str, Any]:
    """The report of a run on made embeddings: 480 pairs to learn, 80 and 240 in groups of 8."""
    random = np.random.default_rng(0)
    source = random.normal(size=(800, WIDTH))
    target = task(source, random)
    cuts = {"train": (0, 480), "validation": (480, 560), "heldout": (560, 800)}
    pairs, samples = {}, {}
    for name, (start, end) in cuts.items():
        one, two = (torch.from_numpy(x[start:end]).float() for x in (source, target))
        pairs[name] = EmbeddingPairs(one, two)
        samples[name] = tuple(Sample(f"{i}", f"t{i}", f"{i // 8}") for i in range(start, end))
    made = Prepared(
        config,
        prepared.device,
        Splits(**samples, dropped=0),
        prepared.cache,
        **pairs,
        hit_rate=1.0,
    )
    run: FittedRun = fit(config, prepared=made)
    report = write_run_report(run, train_side_runs(run))
    assert report is not None
    return report


@pytest.fixture
def run_task(make_config: Callable[..., Config]) -> Callable[..., dict[str, Any]]:
    def run(task: Task, *overrides: str) -> dict[str, Any]:
        config = make_config(
            "report.attribution=full",
            "lattice.dimensions=3,4,5",
            "model.dynamics.steps=4",
            "model.dynamics.min_steps=4",
            "evaluation.baseline_epochs=5",
            *overrides,
        )
        return known_run(config, prepare(config, torch.device("cpu")), task)

    return run


@pytest.mark.slow
def test_linear_task_leaves_nothing_to_explain(run_task: Callable[..., dict[str, Any]]) -> None:
    """The face is wider than the embedding and the target linear: every row is perfect."""
    mixing = np.random.default_rng(1).normal(size=(WIDTH, WIDTH)) / WIDTH**0.5
    phases = "training.phases=[{name: main, updates: 30}]"
    report = run_task(lambda source, random: source @ mixing, phases)
    for row in report["attribution"].values():
        assert row["explained_variance"] > 0.99
        assert abs(row["difference"]["explained_variance"]) < 0.01
    assert report["differences"]["pca"]["explained_variance"] == pytest.approx(0, abs=0.01)


def test_independent_pairs_show_no_contribution(run_task: Callable[..., dict[str, Any]]) -> None:
    phases = "training.phases=[{name: main, updates: 60}]"
    report = run_task(lambda source, random: random.normal(size=source.shape), phases)
    assert report["student"]["explained_variance"] < 0.02
    difference = report["attribution"]["frozen_lattice"]["difference"]
    assert difference["low"] <= 0 <= difference["high"]
    lines = (Path(report_folder(report)) / "report.md").read_text(encoding="utf-8")
    assert "No measurable contribution of the trained lattice" in lines


def report_folder(report: dict[str, Any]) -> str:
    """From the command that repeats the run."""
    return str(Path(report["command"].split(" --config ")[1]).parent)


@pytest.mark.slow
def test_lattice_that_must_learn_beats_a_frozen_one(
    run_task: Callable[..., dict[str, Any]],
) -> None:
    """Without a readout of states only trained experts can make squares of the source."""
    report = run_task(
        lambda source, random: np.abs(source) * 2,
        "training.phases=[{name: main, updates: 250, learning_rate: 0.01}]",
        "training.expert_lr_scale=1.0",
        "model.mapper.readout=surface",
        "model.state_channels=8",
    )
    difference = report["attribution"]["frozen_lattice"]["difference"]
    assert difference["low"] > 0
    lines = (Path(report_folder(report)) / "report.md").read_text(encoding="utf-8")
    assert "Training the lattice adds +" in lines


def test_interrupted_frozen_training_gives_no_report(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fit(make_config("report.attribution=full"))
    side = train_side_runs(run)
    assert side.frozen is not None
    stopped = SideRuns(side.control, replace(side.frozen, reason="interrupted", signal=2))
    assert stopped.interrupted is stopped.frozen
    assert write_run_report(run, stopped) is None
    assert side.interrupted is None
