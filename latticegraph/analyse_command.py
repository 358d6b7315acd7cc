"""The command ``analyse``: its options, and the call."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from latticegraph.data.load import check_source

_TEXT = "measure what the cube of a run does: specialisation, lesions, flow, each beside chance"
_EXAMPLES = """\
examples:
  latticegraph analyse runs/8cube
  latticegraph analyse runs/8cube --data labelled.jsonl --out labelled

A JSONL file may have a field label (or gold_label) in every row. Writes analysis.json,
analysis.html, charts/ and a copy of plotly (extra: pip install 'latticegraph[analysis]')."""


def add_analyse_command(commands: Any) -> None:
    """Add the command.

    Args:
        commands: subparsers of the program.
    """
    command = commands.add_parser(
        "analyse",
        help="measure what the cube of a run does, beside chance",
        description=_TEXT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("folder", metavar="RUN", help="folder of a finished run")
    command.add_argument(
        "--data", metavar="FILE", help="text to use; without: the run's own held-out text"
    )
    command.add_argument(
        "--out", metavar="DIR", help="folder for the result; default: analysis in that of the run"
    )
    command.add_argument(
        "--trust",
        nargs="+",
        default=[],
        metavar="CLASS",
        help="class paths (file.py:Class) that the run names and whose code may run",
    )


def run_analyse(options: argparse.Namespace) -> int:
    """Analyse a run and print the summary.

    Args:
        options: ``folder``, ``data``, ``out`` and ``trust`` apply.

    Returns:
        The exit status.
    """
    if options.data is not None:
        check_source(options.data)
    # Torch takes seconds to import, for which --help should not wait.
    from latticegraph.pipeline.analyse_run import FOLDER, PAGE, analyse

    result = analyse(options.folder, options.data, options.out, options.trust)
    folder = Path(options.out or Path(options.folder) / FOLDER).expanduser()
    sys.stdout.write("".join(f"{line}\n" for line in result["summary"]))
    sys.stdout.write(f"analysis: {folder / PAGE}\n")
    return 0
