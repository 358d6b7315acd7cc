"""The runs of a folder, with their scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latticegraph.errors import CheckpointError
from latticegraph.files import parse_json

if TYPE_CHECKING:
    from rich.table import Table


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """Name, state and held-out scores of every run below ``folder``, newest last.

    Args:
        folder: ``run.output_dir``.

    Returns:
        Dictionaries with ``name``, ``state`` (``finished``, ``damaged report``, or ``no report``),
        ``date``, ``updates``, ``heldout`` (samples), ``explained_variance``, ``pca`` (its explained
        variance) and ``recall_at_1``; None where there is none.

    Raises:
        CheckpointError: there is no such folder.
    """
    if not folder.is_dir():
        raise CheckpointError(
            str(folder),
            "expected the folder of all runs (run.output_dir), got no folder",
            "Name it: latticegraph runs DIR",
        )
    runs = [_run(path.parent) for path in sorted(folder.glob("*/config.yaml"))]
    return sorted(runs, key=lambda run: (run["date"] or "", run["name"]))


def runs_table(runs: Sequence[dict[str, Any]]) -> Table:
    """The list as a table for the console.

    Args:
        runs: of :func:`list_runs`.
    """
    from rich.table import Table

    table = Table(title=f"{len(runs)} run(s); explained variance on held-out text")
    for column in ("run", "state", "date", "updates", "held out", "student", "PCA", "recall@1"):
        table.add_column(column, justify="left" if column in ("run", "state", "date") else "right")
    for run in runs:
        numbers = [_shown(run[key]) for key in ("explained_variance", "pca", "recall_at_1")]
        counts = [_shown(run[key]) for key in ("updates", "heldout")]
        table.add_row(run["name"], run["state"], run["date"] or "", *counts, *numbers)
    return table


def _run(folder: Path) -> dict[str, Any]:
    keys = ("date", "updates", "heldout", "explained_variance", "pca", "recall_at_1")
    found: dict[str, Any] = {"name": folder.name, "state": "no report"} | dict.fromkeys(keys)
    path = folder / "report.json"
    if not path.is_file():
        return found
    try:
        report = parse_json(path.read_text(encoding="utf-8"))
        student, baselines = report["student"], report["baselines"]
        return found | {
            "state": "finished",
            "date": str(report["date"]),
            "updates": int(report["training"]["updates"]),
            "heldout": int(report["data"]["heldout"]),
            "explained_variance": float(student["explained_variance"]),
            "pca": float(baselines["pca"]["explained_variance"]),
            "recall_at_1": float(student["recall_at_1"]),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return found | {"state": "damaged report"}


def _shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
