"""Runs in, page out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from latticegraph.dashboard.page import render_page
from latticegraph.dashboard.run_history import LOG, read_history
from latticegraph.errors import CheckpointError, ConfigError
from latticegraph.files import write_text
from latticegraph.run_lock import is_held

DASHBOARD = "dashboard.html"
MOST_RUNS = 6


def write_dashboard(
    folders: Sequence[Path],
    out: Path | None = None,
    *,
    going: bool | None = None,
    where: str = "--out",
) -> Path:
    """Write the page of some runs, whole or not at all.

    Args:
        folders: of the runs, at most :data:`MOST_RUNS`; a log is enough.
        out: the file; None: ``dashboard.html`` in the first folder.
        going: whether they are being trained; None: asks the lock of each.
        where: the option or dotted key that asks for the page, for messages.

    Returns:
        The file.

    Raises:
        ConfigError: too many runs, or the disk refuses.
        CheckpointError: a folder has no log, or a damaged one.
    """
    if not 1 <= len(folders) <= MOST_RUNS:
        raise ConfigError(
            "RUN",
            f"expected 1 to {MOST_RUNS} runs, got {len(folders)}",
            "Name fewer: more curves cannot be told apart",
        )
    runs = [
        read_history(folder, going=is_held(folder) if going is None else going, name=name)
        for folder, name in zip(folders, _names(folders), strict=True)
    ]
    path = folders[0] / DASHBOARD if out is None else out
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    try:
        page = render_page(runs, now)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise CheckpointError(
            ", ".join(str(folder / LOG) for folder in folders),
            f"expected records as training writes them, got: {error!r}",
            "Put the log of the run back, or train again",
        ) from error
    write_text(path, page, where)
    return path


def _names(folders: Sequence[Path]) -> list[str]:
    """The names of the folders; with that of the folder above where two are the same."""
    paths = [folder.resolve() for folder in folders]
    names = [path.name for path in paths]
    return [
        f"{path.parent.name}/{path.name}" if names.count(path.name) > 1 else path.name
        for path in paths
    ]
