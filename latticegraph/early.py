"""What can be wrong with paths, found before torch is imported and before work starts."""

from __future__ import annotations

import argparse
from pathlib import Path

from latticegraph.config import Config
from latticegraph.data.load import check_source
from latticegraph.errors import CheckpointError, ConfigError, DataError, TeacherError
from latticegraph.files import check_writable
from latticegraph.terminal import command

STDOUT = "-"


def check_paths(config: Config) -> None:
    """Check that a run can read its text and its array, and make its folder.

    Args:
        config: the sections run, data and teacher apply.

    Raises:
        LatticeGraphError: a file is missing, or a folder cannot be made.
    """
    data, teacher = config.data, config.teacher
    files = () if isinstance(data.heldout, float) else data.heldout
    for name in (*data.train, *files):
        check_source(name)
    if teacher.kind == "array":
        for key in ("name",) if teacher.texts is None else ("name", "texts"):
            path = Path(str(getattr(teacher, key))).expanduser()
            if not (path.is_file() or (key == "name" and path.is_dir())):
                raise TeacherError(
                    f"teacher.{key}",
                    f"expected a file, got '{path}', which is not there",
                    "Set it to the rows, or to the text that owns them",
                )
    check_writable(Path(config.run.output_dir).expanduser(), "run.output_dir")


def check_evaluation(options: argparse.Namespace) -> None:
    """Check the run, the text and the places of results of the command ``evaluate``.

    Args:
        options: ``folder``, ``data``, ``sts``, ``json``, ``codec`` and ``codec_dir`` apply.

    Raises:
        LatticeGraphError: one is missing or cannot be written.
    """
    check_run(Path(options.folder).expanduser())
    for name in options.data:
        check_source(name)
    if options.sts is not None and not Path(options.sts).expanduser().is_file():
        raise DataError(
            "--sts", f"expected a file, got '{options.sts}', which is not there", "Correct the path"
        )
    check_output(options.json, "--json")
    if options.codec is not None:
        folder = options.codec_dir or Path(options.folder) / "codec"
        check_writable(Path(folder).expanduser(), "--codec-dir")


def check_run(folder: Path) -> None:
    """Check that ``folder`` holds a finished run.

    Raises:
        CheckpointError: it is not there, holds no run, or one that is not finished.
    """
    if (folder / "report.json").is_file():
        return
    wanted = f"expected the folder of a finished run, got '{folder}'"
    if not folder.is_dir():
        raise CheckpointError(
            "--run", f"{wanted}, which is not there", f"See the runs: {command('runs')}"
        )
    if not (folder / "config.yaml").is_file():
        raise CheckpointError(
            "--run", f"{wanted} without config.yaml", f"See the runs: {command('runs')}"
        )
    again = command("train", "--config", str(folder / "config.yaml"), "--resume", "auto")
    raise CheckpointError("--run", f"{wanted} without report.json", f"Finish it: {again}")


def check_output(path: str | None, option: str) -> None:
    """Check that a file can be written.

    Args:
        path: the file; None for none, ``-`` for standard output.
        option: that named it, for the message.

    Raises:
        ConfigError: it is a folder, or its folder cannot be made or written.
    """
    if path in (None, STDOUT):
        return
    file = Path(str(path)).expanduser()
    if file.is_dir():
        raise ConfigError(option, f"expected a file, got the folder '{file}'", "Name a file in it")
    check_writable(file.parent, option)
