"""What is wrong with paths is said before torch is imported and before work starts."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import latticegraph
from latticegraph.cli import main
from latticegraph.files import advice, check_writable
from latticegraph.pipeline import fit_run, train_run
from latticegraph.terminal import command


@pytest.fixture(autouse=True)
def _inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)


WRONG = [
    (
        ["train", "--config", "small.yaml", "--set", "data.train=corpsu.txt"],
        "corpsu.txt: expected a file or a built-in name, got a path that is not there. Correct the "
        "name (did you mean corpus.txt",
    ),
    (
        ["train", "--config", "small.yaml", "--dry-run", "--set", "teacher.name=row.npy"],
        "teacher.name: expected a file, got 'row.npy', which is not there",
    ),
    (
        ["train", "--config", "small.yaml", "--set", "run.output_dir=corpus.txt/runs"],
        "run.output_dir: expected a folder that can be made and written, got 'corpus.txt/runs': ",
    ),
    (
        ["evaluate", "--run", "/nope"],
        "--run: expected the folder of a finished run, got '/nope', which is not there. See the ru",
    ),
    (["evaluate", "--run", "."], "--run: expected the folder of a finished run, got '.' without c"),
    (["runs", "nowhere"], "nowhere: expected the folder of all runs (run.output_dir), got no fold"),
    (
        ["describe", "--config", "small.yaml", "--json", "corpus.txt/out.json"],
        "--json: expected a folder that can be made and written, got 'corpus.txt': Not a directory",
    ),
    (
        ["describe", "--config", "small.yaml", "--json", "."],
        "--json: expected a file, got the folder '.'. Name a file in it",
    ),
]


def test_errors_of_paths_cost_no_import_of_torch() -> None:
    code = """
import io, json, sys
from contextlib import redirect_stderr
from latticegraph.cli import main
said = []
for words in json.loads(sys.argv[1]):
    with redirect_stderr(io.StringIO()) as errors:
        said.append([main(words), errors.getvalue()])
print(json.dumps([said, "torch" in sys.modules]))
"""
    words = json.dumps([options for options, _ in WRONG])
    done = subprocess.run(
        [sys.executable, "-c", code, words], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    said, has_torch = json.loads(done.stdout)
    for (options, wanted), (status, error) in zip(WRONG, said, strict=True):
        assert status == 2, options
        assert error.startswith(f"error: {wanted}"), error
        assert error.count("\n") == 1
    assert not has_torch


def test_evaluation_checks_its_files_first(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text("{", encoding="utf-8")
    run = ["evaluate", "--run", str(tmp_path)]
    for options, wanted in (
        (["--sts", "none.tsv"], "--sts: expected a file, got 'none.tsv'"),
        (["--data", "nwe.txt"], "nwe.txt: expected a file or a built-in name"),
        (["--codec", "pca", "--codec-dir", "corpus.txt/x"], "--codec-dir: expected a folder that"),
        ([], "--run: expected the folder of a finished run, got "),
    ):
        assert main([*run, *options]) == 2
        assert capsys.readouterr().err.startswith(f"error: {wanted}")


def test_folder_that_refuses_is_found_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_writable(tmp_path / "a" / "b", "run.output_dir")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"got '/proc/x': No such file or directory\. Choose"):
        check_writable(Path("/proc/x"), "run.output_dir")

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(ValueError, match=r"No space left on device\. Free disk space"):
        check_writable(tmp_path, "run.output_dir")


def test_disk_space_is_named_only_where_it_lacks() -> None:
    assert (
        advice(OSError(errno.EACCES, "Permission denied")) == "Choose a folder that can be written"
    )
    assert advice(OSError(errno.ENOSPC, "No space")) == "Free disk space"
    assert advice(RuntimeError("Error: No space left on device (os error 28)")) == "Free disk space"


def test_interrupted_report_says_how_to_go_on(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train_run, "write_run_report", interrupted)
    options = ["--experiment-name", "half", "--set", "training.phases.0.updates=2"]
    assert main(["train", "--config", "small.yaml", *options]) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    folder = Path("runs") / "half"
    assert last == "interrupted; to go on: " + command(
        "train", "--config", str(folder / "config.yaml"), "--resume", "true"
    )
    monkeypatch.undo()
    monkeypatch.chdir(project)
    assert main(last.split(" -m latticegraph ")[1].split()) == 0
    assert (folder / "report.json").is_file()


def test_interrupted_teacher_pass_names_the_command_as_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fit_run, "prepare", interrupted)
    options = ["--config", "small.yaml", "--set", "run.seed=3", "--experiment-name"]
    options.append("teacher-pass")
    assert main(["train", *options]) == 130
    wanted = command("train", *options, "--resume", "auto")
    assert capsys.readouterr().err.splitlines()[-1] == f"interrupted; to go on: {wanted}"
    assert not Path("runs/teacher-pass").exists()


@pytest.mark.parametrize(
    ("started", "wanted"),
    [
        ("/opt/bin/latticegraph", "/opt/bin/latticegraph train --config 'a b.yaml'"),
        ("/x/__main__.py", f"{sys.executable} -m latticegraph train --config 'a b.yaml'"),
        ("-c", f"{sys.executable} -m latticegraph train --config 'a b.yaml'"),
    ],
)
def test_command_works_where_the_process_was_started(
    started: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [started])
    assert command("train", "--config", "a b.yaml") == wanted


def test_command_names_the_script_beside_the_one_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "train.py"
    script.write_text("")
    monkeypatch.setattr("sys.argv", [str(script.with_name("evaluate.py"))])
    assert command("train", "x") == f"{sys.executable} {script} x"


def test_package_runs_as_a_module_and_tells_its_version() -> None:
    words = [sys.executable, "-m", "latticegraph", "--version"]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stdout) == (0, f"latticegraph {latticegraph.__version__}\n")


@pytest.mark.parametrize("name", ["train", "evaluate", "describe", "compare", "runs"])
def test_every_command_has_examples_that_are_understood(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from latticegraph.arguments import EXAMPLES, parser

    with pytest.raises(SystemExit):
        main([name, "--help"])
    shown = capsys.readouterr().out
    assert EXAMPLES[name] in shown
    lines = [line for line in EXAMPLES[name].splitlines() if line.startswith("  ")]
    assert lines
    for line in lines:
        words = line.rpartition("latticegraph ")[2].split()
        assert parser().parse_args(words).name == name


def test_json_on_standard_output_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "--config", "small.yaml", "--json", "-"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["cells"] == 27
    assert "3 x 3 x 3: 27 cells" in shown.err
    assert not Path("-").exists()


def test_evaluate_reads_standard_input(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = ["--set", f"run.output_dir={tmp_path}", "training.phases.0.updates=2"]
    assert main(["train", "--config", "small.yaml", "--experiment-name", "piped", *own]) == 0
    text = (project / "new.txt").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert main(["evaluate", "--run", str(tmp_path / "piped"), "--data", "-", "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out.partition("report: ")[2].partition("\n")[2])
    assert report["data"]["files"] == ["-"]
    assert report["data"]["heldout"] > 0

    assert main(["runs", str(tmp_path), "--json", "-"]) == 0
    shown = capsys.readouterr()
    (run,) = json.loads(shown.out)["runs"]
    trained = json.loads((tmp_path / "piped" / "report.json").read_text(encoding="utf-8"))
    assert (run["name"], run["state"], run["updates"]) == ("piped", "finished", 2)
    assert run["explained_variance"] == trained["student"]["explained_variance"]
    assert run["pca"] == trained["baselines"]["pca"]["explained_variance"]
    assert "piped" in shown.err
    (tmp_path / "piped" / "report.json").write_text("[]", encoding="utf-8")
    assert main(["runs", str(tmp_path)]) == 0
    assert "damaged report" in capsys.readouterr().out
