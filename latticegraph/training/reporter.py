"""What a run tells while it trains: its log and its console."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from rich.console import Console

from latticegraph.training.console import TrainingConsole
from latticegraph.training.run_folder import RunFolder
from latticegraph.training.run_log import RunLog


class Reporter(ExitStack):
    """Every record goes to the log; people see some of them. To be closed by ``with``.

    Args:
        folder: of the run; its metrics file exists.
        total: updates of the whole run.
        done: updates done before; None for a new run.
        console: where people look; None: standard output.
        silent: tell nothing and open nothing, because another process speaks for the run.
    """

    def __init__(
        self,
        folder: RunFolder,
        total: int,
        done: int | None = None,
        console: Console | None = None,
        silent: bool = False,
    ) -> None:
        super().__init__()
        self._silent = silent
        if not silent:
            self._log = self.enter_context(RunLog(folder, None if done is None else done + 1))
            self._console = self.enter_context(TrainingConsole(total, done or 0, console))

    def advance(self, done: int) -> None:
        """Show that ``done`` updates are done."""
        if not self._silent:
            self._console.advance(done)

    def train(self, record: Mapping[str, Any]) -> None:
        """Tell about the updates since the last log line."""
        if not self._silent:
            self._log.write(record)
            self._console.train(record)

    def validation(self, record: Mapping[str, Any], best: bool) -> None:
        """Tell about a validation, and whether it is the best so far."""
        if not self._silent:
            self._log.write(record)
            self._console.validation(record, best)

    def note(self, record: Mapping[str, Any]) -> None:
        """Log anything else; a ``message`` is also shown as a warning."""
        if self._silent:
            return
        self._log.write(record)
        if "message" in record:
            self._console.warning(record["message"])

    def sync(self) -> int:
        """Bring the log to disk; its length in bytes, 0 where silent."""
        return 0 if self._silent else self._log.sync()
