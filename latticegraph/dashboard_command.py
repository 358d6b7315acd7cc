"""The command that writes the page of some runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_dashboard_command(commands: Any) -> None:
    """Add the command.

    Args:
        commands: subparsers of the program.
    """
    text = "write a page that shows how runs go"
    dashboard = commands.add_parser(
        "dashboard",
        help=text,
        description=f"{text}: curves, experts, cells, decoded samples, and signs that a run goes "
        "wrong. One HTML file that needs no server; a run that was killed is shown as far as its "
        "log goes.",
        epilog="""\
examples:
  latticegraph dashboard runs/8cube
  latticegraph dashboard runs/8cube runs/mine --out both.html
  latticegraph dashboard runs/8cube runs/8cube/frozen_lattice""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    dashboard.add_argument(
        "folders", nargs="+", metavar="RUN", help="folder of a run; several lie over each other"
    )
    dashboard.add_argument(
        "--out", metavar="FILE", help="default: dashboard.html in the first folder"
    )


def run_dashboard(options: argparse.Namespace) -> int:
    """Write the page.

    Args:
        options: of the command line.

    Raises:
        LatticeGraphError: a folder has no log, or the disk refuses.
    """
    from latticegraph.dashboard import write_dashboard

    folders = [Path(folder).expanduser() for folder in options.folders]
    out = None if options.out is None else Path(options.out).expanduser()
    sys.stdout.write(f"dashboard: {write_dashboard(folders, out)}\n")
    return 0
