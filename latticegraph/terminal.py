"""What the commands print, and where."""

from __future__ import annotations

import io
import logging
import shlex
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 120


def console(*, aside: bool = False) -> Console:
    """Where tables are printed.

    Args:
        aside: on standard error, because standard output holds something else.
    """
    from rich.console import Console

    stream = sys.stderr if aside else sys.stdout
    # Rich takes 80 columns where there is no terminal: too few for the report.
    return Console(stderr=aside, width=None if stream.isatty() else PIPED_WIDTH)


def show_log() -> None:
    """Notices of the package go to standard error, one line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("latticegraph")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    quiet_torch()


def quiet_torch() -> None:
    """Leave out what torch says once per process about CSR products: nothing to do about it."""
    warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)


def command(*words: str) -> str:
    """A command of latticegraph that works as typed where this process was started.

    Args:
        words: the command's name and its options.

    >>> command("train", "--config", "my run.yaml").endswith("train --config 'my run.yaml'")
    True
    """
    started = Path(sys.argv[0])
    sibling = started.with_name(f"{words[0].replace('-', '_')}.py")
    if started.parent.name == "scripts" and sibling.is_file():
        return shlex.join([sys.executable, str(sibling), *words[1:]])
    if started.name == "latticegraph":
        return shlex.join([str(started), *words])
    return shlex.join([sys.executable, "-m", "latticegraph", *words])


def show_log_by_default() -> None:
    """In a program that has not set up logging, notices of the package are shown all the same."""
    if not logging.getLogger("latticegraph").hasHandlers():
        show_log()


def speak_utf8() -> None:
    """Text is UTF-8 whatever the locale says; what is piped in or out may hold any of it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
