"""Folder names, and what is written into a new folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from latticegraph.config import Config, load_config
from latticegraph.errors import CheckpointError, ConfigError
from latticegraph.pipeline.fit_run import fit
from latticegraph.pipeline.run_folder import make_folder, plan_folder
from latticegraph.run_lock import RunLock
from latticegraph.training import RunFolder


def test_make_folder_takes_the_next_free_name_and_records_it(
    make_config: Callable[..., Config], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config()
    names = []
    with caplog.at_level("INFO"):
        for _ in range(3):
            with RunLock() as lock:
                named, folder, _ = make_folder(config, plan_folder(config, "false", lock), lock)
            assert load_config(folder / "config.yaml") == named
            names.append((folder.name, named.run.name))
    assert names == [("small", "small"), ("small-2", "small-2"), ("small-3", "small-3")]
    assert f"{tmp_path / 'runs' / 'small'} is taken" in caplog.text
    assert not list((tmp_path / "runs").rglob("*.partial"))


def test_plan_folder_makes_nothing(make_config: Callable[..., Config], tmp_path: Path) -> None:
    plan = plan_folder(make_config(), "auto", RunLock())
    assert (plan.path, plan.checkpoint, plan.reuse) == (tmp_path / "runs" / "small", None, True)
    assert not (tmp_path / "runs").exists()


def test_auto_without_checkpoint_goes_on_in_the_same_folder(
    make_config: Callable[..., Config],
) -> None:
    config = make_config()
    found = []
    for _ in range(2):
        with RunLock() as lock:
            found.append(make_folder(config, plan_folder(config, "auto", lock), lock)[1])
    assert found[0] == found[1]


def test_unnamed_run_gets_a_plain_name(make_config: Callable[..., Config]) -> None:
    config = make_config()
    nameless = config.model_copy(update={"run": config.run.model_copy(update={"name": None})})
    with RunLock() as lock:
        plan = plan_folder(nameless, "false", lock)
        assert make_folder(nameless, plan, lock)[1].name == "run"


def test_resume_true_needs_a_checkpoint(make_config: Callable[..., Config]) -> None:
    with pytest.raises(CheckpointError, match="--resume: expected a checkpoint, got no file"):
        plan_folder(make_config(), "true", RunLock())


def test_make_folder_reports_a_place_that_cannot_hold_it(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    config = make_config(f"run.output_dir={tmp_path / 'file'}")
    with pytest.raises(ConfigError, match=r"run\.output_dir: expected a folder in which .* got: "):
        make_folder(config, plan_folder(config, "false", RunLock()), RunLock())


def test_folder_that_another_process_works_in_is_refused_before_it_is_read(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    config = make_config()
    folder = RunFolder(tmp_path / "runs" / "small")
    folder.start()
    with RunLock() as holder, RunLock() as lock:
        holder.take(folder.path)
        with pytest.raises(ConfigError, match="held by process"):
            plan_folder(config, "auto", lock)
        folder.last.write_bytes(b"half a checkpoint")
        for resume in ("true", "auto", str(folder.last)):
            with pytest.raises(ConfigError, match="held by process"):
                plan_folder(config, resume, lock)


def test_checkpoint_that_appeared_after_the_plan_is_continued(
    make_config: Callable[..., Config],
) -> None:
    config = make_config()
    plan = plan_folder(config, "auto", RunLock())
    other = fit(config)
    with RunLock() as lock:
        found = make_folder(config, plan, lock)
    assert found[1:] == (other.folder, other.result.last_checkpoint)
    changed = make_config("run.seed=5")
    with RunLock() as lock, pytest.raises(CheckpointError, match=r"run\.seed is 0"):
        make_folder(changed, plan, lock)
