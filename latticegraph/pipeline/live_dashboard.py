"""The page of a run, kept up to date while it trains."""

from __future__ import annotations

import time

from latticegraph.dashboard import write_dashboard
from latticegraph.training import Callback, TrainingState, ValidationResult

# The page takes at most this share of the time of the run, however long its log grows.
LARGEST_SHARE = 0.01
KEY = "report.dashboard_every"


class LiveDashboard(Callback):
    """Writes ``dashboard.html`` after validations and log lines, and at the end.

    Its place is behind the log, so that it shows the latest record.

    Args:
        every: seconds between two pages, at least; 0: no page is written.
    """

    def __init__(self, every: float) -> None:
        self.every = every
        self._state: TrainingState | None = None
        self._next = 0.0

    def on_start(self, state: TrainingState) -> None:
        """Remember where the run's files are; only the writer makes pages."""
        if self.every and state.processes.is_writer:
            self._state = state

    def on_update_end(self, state: TrainingState) -> None:
        """Write the page where a log line was written and it is due."""
        if state.plan.is_logged(state.progress.update):
            self._write_if_due()

    def on_validation(self, state: TrainingState, result: ValidationResult) -> None:
        """Write the page where it is due."""
        self._write_if_due()

    def close(self) -> None:
        """Write the last page, which no longer loads itself again."""
        if self._state is not None:
            write_dashboard([self._state.folder.path], going=False, where=KEY)
            self._state = None

    def _write_if_due(self) -> None:
        began = time.monotonic()
        if self._state is None or began < self._next:
            return
        write_dashboard([self._state.folder.path], going=True, where=KEY)
        ended = time.monotonic()
        self._next = ended + max(self.every, (ended - began) / LARGEST_SHARE)
