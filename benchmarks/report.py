"""Output: tables, JSON, Markdown and a plot."""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch
from rich.box import ASCII, SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from latticegraph.errors import ConfigError
from latticegraph.files import write_json, write_text

PIPED_WIDTH = 120
BUSY = 0.05  # share of the cores taken by others above which times are marked
COLUMNS = {
    "backend": "backend",
    "forward ms": "forward_ms",
    "+ backward ms": "forward_backward_ms",
    "ns per cell": "ns_per_cell",
    "/ floor": "over_floor",
    "peak MB": "peak_mb",
}

Row = dict[str, Any]


class Report:
    """Rows so far; the files are complete after every group, so that an interruption costs one.

    Args:
        options: those of run.py.

    Raises:
        ConfigError: when rows are to be kept and the file holds none.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._console = Console()
        if not self._console.is_terminal:
            self._console.width = PIPED_WIDTH
        self._rows: list[Row] = []
        if options.add and options.json is not None and options.json.exists():
            self._rows = _read_rows(options.json)

    def add(self, rows: list[Row]) -> None:
        """Show the rows of one cube and kind of work, and write all files but the plot."""
        keys = {(row["cube"], row["what"]) for row in rows}
        kept = [row for row in self._rows if (row["cube"], row["what"]) not in keys]
        self._rows = [*kept, *rows]
        self._console.print(_table(rows, self._console.is_terminal))
        for row in rows:
            if row["oom"]:
                line = f"  {row['backend']} left out: {row['reason']}"
                self._console.print(line, highlight=False)
        if (rows[0]["others"] or 0) > BUSY:
            line = f"  other processes used {rows[0]['others']:.0%} of the cores: trust ratios only"
            self._console.print(line, highlight=False)
        options = self._options
        if options.json is not None:
            write_json(options.json, {"machine": machine(options), "rows": self._rows}, "--json")
        if options.markdown is not None:
            write_text(options.markdown, markdown(self._rows), "--markdown")

    def draw(self) -> None:
        """Write the plot, where one is wanted."""
        if self._options.plot is not None:
            from plot import draw

            draw(self._rows, self._options.plot)


def _read_rows(path: Path) -> list[Row]:
    try:
        rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            "--add",
            f"expected the numbers of an earlier run in '{path}', got {type(error).__name__}",
            "Leave --add out, or name another file with --json",
        ) from error
    return rows


def machine(options: argparse.Namespace) -> Row:
    """Where the times were taken."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        cpu = names[0] if names else cpu
    is_cuda = options.device == "cuda"
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if is_cuda else "cpu",
        "allocator": options.allocator,
        "quick": options.quick,
    }


def _title(row: Row) -> str:
    side, steps = row["cube"], row["steps"]
    shape = f"{row['channels']} channels, {row['heads']} heads, batch {row['batch']}"
    taken = f", {steps} steps" if steps > 1 else ""
    return f"{row['what']}, {side}x{side}x{side}, {row['edges']:,} edges, {shape}{taken}"


def _cells(row: Row) -> list[str]:
    if row["oom"]:
        return [row["backend"], "does not fit", *["-"] * (len(COLUMNS) - 2)]
    values = [row[key] for key in list(COLUMNS.values())[1:]]
    return [row["backend"], *("-" if v is None else f"{v:,.4g}" for v in values)]


def _table(rows: list[Row], terminal: bool) -> Table:
    table = Table(title=_title(rows[0]), box=SIMPLE_HEAD if terminal else ASCII)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "backend" else "right")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def markdown(rows: list[Row]) -> str:
    """One table per cube and kind of work."""
    lines: list[str] = []
    group = None
    for row in rows:
        if (row["cube"], row["what"]) != group:
            group = (row["cube"], row["what"])
            lines += ["", f"### {_title(row)}", "", f"| {' | '.join(COLUMNS)} |"]
            lines.append("|---" + "|---:" * (len(COLUMNS) - 1) + "|")
        lines.append(f"| {' | '.join(_cells(row))} |")
    return "\n".join(lines[1:]) + "\n"
