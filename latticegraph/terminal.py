"""What the commands print, and where."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 120


def console() -> Console:
    """Where tables are printed."""
    from rich.console import Console

    # Rich takes 80 columns where there is no terminal: too few for the report.
    return Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)


def show_log() -> None:
    """Notices of the package go to standard error, one line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("latticegraph")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # torch says this once per process about every CSR product; there is nothing to do about it.
    warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)


def speak_utf8() -> None:
    """Text is UTF-8 whatever the locale says; what is piped in or out may hold any of it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
