"""Options and exit statuses, in this process."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import latticegraph
from latticegraph.cli import main
from latticegraph.config import load_config
from latticegraph.pipeline import fit_run
from latticegraph.progress import duration
from latticegraph.teachers.array import ArrayTeacher


@pytest.fixture(autouse=True)
def _inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)


def test_second_run_takes_the_next_name(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["train", "--config", "small.yaml", "--experiment-name", "8"]
    assert main(options) == 0
    first = (project / "runs" / "8" / "report.json").read_bytes()
    assert main(options) == 0
    captured = capsys.readouterr()
    assert (
        "runs/8 is taken (use --resume to continue it), this run goes to runs/8-2" in captured.err
    )
    assert (project / "runs" / "8-2" / "report.json").is_file()
    assert (project / "runs" / "8" / "report.json").read_bytes() == first


def test_print_config_shows_the_resolved_settings_and_does_nothing(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(project.rglob("*"))
    options = ["--set", "training.batch_size=32", "run.seed=3", "--set", "losses.spatial=0"]
    assert main(["train", "--config", "small.yaml", "--print-config", *options]) == 0
    copy = tmp_path / "copy.yaml"
    copy.write_text(capsys.readouterr().out, encoding="utf-8")
    config = load_config(copy)
    assert (config.training.batch_size, config.run.seed, config.losses.spatial) == (32, 3, 0)
    assert config.run.name == "small"
    assert sorted(project.rglob("*")) == before


def test_dry_run_leaves_no_run_folder(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--experiment-name", "never", "--dry-run"]
    assert main(["train", "--config", "small.yaml", *options]) == 0
    shown = capsys.readouterr().out
    assert "dry run passed: 27 cells, 279 edges" in shown
    assert "teacher: about" not in shown  # rows that are stored take no time
    assert not (project / "runs" / "never").exists()


def test_dry_run_tells_how_long_the_teacher_will_take(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ArrayTeacher, "expected_seconds", lambda _, texts: 3.0 * len(texts))
    texts = len((project / "corpus.txt").read_text(encoding="utf-8").splitlines())
    assert main(["train", "--config", "small.yaml", "--dry-run"]) == 0
    wanted = f"\nteacher: about {duration(3.0 * texts)} to embed {texts} texts, less for those that"
    assert wanted in capsys.readouterr().out


def test_dry_run_finds_what_would_stop_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    bad = "teacher.dimension=13"
    assert main(["train", "--config", "small.yaml", "--dry-run", "--set", bad]) == 2
    assert (
        capsys.readouterr()
        .err.split("\n")[-2]
        .startswith("error: teacher.dimension: expected 12, the width of 'rows.npy', got 13. ")
    )


def test_error_message_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--run", "no\nfolder", "--data", "new.txt"]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error: --run: expected the folder of a finished run, got 'no f")


def test_full_disk_in_mid_run_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/small/metrics.jsonl")

    monkeypatch.setattr(fit_run, "fit", full)
    assert main(["train", "--config", "small.yaml"]) == 2
    assert capsys.readouterr().err == (
        "error: runs/small/metrics.jsonl: No space left on device. Free disk space and go on.\n"
    )


def test_keyboard_interrupt_before_training_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fit_run, "fit", interrupted)
    assert main(["train", "--config", "small.yaml"]) == 130
    assert capsys.readouterr().err == (
        f"interrupted; to go on: {sys.executable} -m latticegraph train --config small.yaml "
        "--resume auto\n"
    )


@pytest.mark.parametrize("command", ["train", "evaluate", "describe"])
def test_every_command_explains_config_and_set(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--config FILE" in text
    assert "--set KEY=VALUE" in text


def test_threads_are_told_to_spin_shortly_before_torch_is_imported() -> None:
    code = (
        "import os, sys; from latticegraph.cli import main; assert 'torch' not in sys.modules; "
        "main(['train', '--config', 'none.yaml']); assert 'torch' not in sys.modules; "
        "assert os.environ['GOMP_SPINCOUNT'] == '10000'"
    )
    environment = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == 0


def test_package_offers_its_names_lazily() -> None:
    for name in latticegraph.__all__:
        assert getattr(latticegraph, name) is not None
    assert set(latticegraph.__all__) <= set(dir(latticegraph))
    with pytest.raises(AttributeError, match="module 'latticegraph' has no attribute 'Lattic'"):
        _ = latticegraph.Lattic
    heavy = "import sys, latticegraph; sys.exit(any(m in sys.modules for m in ('torch', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", heavy], check=False).returncode == 0


def test_compare_prints_both_models_and_writes_json(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path("small.yaml").read_text(encoding="utf-8")
    for name in ("one", "two"):
        (project / f"{name}.yaml").write_text(text, encoding="utf-8")
    out = tmp_path / "out.json"
    options = ["--seeds", "2", "--set", f"run.output_dir={tmp_path}", "--json", str(out)]
    assert main(["compare", "one.yaml", "two.yaml", *options]) == 0
    shown = capsys.readouterr().out
    assert "No verdict: 8 held-out samples" in shown
    assert f"comparison: {tmp_path / 'compare-one-two.json'}" in shown
    result = json.loads(out.read_text(encoding="utf-8"))
    # The same configuration twice: no seed differs.
    assert result["difference"]["by_seed"] == [0, 0]
    assert result == json.loads((tmp_path / "compare-one-two.json").read_text(encoding="utf-8"))


def test_compare_error_names_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "small.yaml", "small.yaml"]) == 2
    assert capsys.readouterr().err.startswith("error: run.name: expected different names for the")
