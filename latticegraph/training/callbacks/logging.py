"""Metrics of a run, in its files and on the console."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

from rich.console import Console

from latticegraph.training.callbacks.console import TrainingConsole
from latticegraph.training.callbacks.records import (
    find_warnings,
    head,
    start_record,
    train_record,
)
from latticegraph.training.callbacks.run_log import RunLog
from latticegraph.training.machine import peak_memory_mb
from latticegraph.training.progress import Reason
from latticegraph.training.state import Callback, TrainingState, ValidationResult


class Logging(Callback):
    """Writes every record to the log and shows some of them; only in the writer's process.

    Args:
        cache_hit_rate: share of texts whose embedding was on disk when the run started, 0 to 1.
        console: where to show progress; None: standard output.

    Attributes:
        metrics_bytes: length of ``metrics.jsonl`` at the latest checkpoint.
        seconds: duration of the updates that are not logged yet.
    """

    def __init__(self, cache_hit_rate: float | None = None, console: Console | None = None) -> None:
        self.cache_hit_rate = cache_hit_rate
        self.metrics_bytes = 0
        self.seconds = 0.0
        self._output = console
        self._open = ExitStack()
        self._log: RunLog | None = None

    def on_start(self, state: TrainingState) -> None:
        """Open the log and the console."""
        if not state.processes.is_writer:
            return
        done = state.progress.update
        first = done + 1 if state.resumed else None
        self._log = self._open.enter_context(RunLog(state.folder, first))
        console = TrainingConsole(state.plan.total, done, self._output)
        self._console = self._open.enter_context(console)
        if not state.resumed:
            self._log.write(start_record(state))
            self._log.describe(state.config)

    def on_update_end(self, state: TrainingState) -> None:
        """Write a record of the updates since the last one, where one is due."""
        self.seconds += state.seconds
        if self._log is not None:
            self._console.advance(state.progress.update)
        if not state.plan.is_logged(state.progress.update):
            return
        if self._log is not None:
            record = train_record(state, self.seconds, self.cache_hit_rate)
            record["peak_memory_mb"] = peak_memory_mb(state.device)
            record["seconds"] = time.perf_counter() - state.began
            self._log.write(record)
            self._console.train(record)
        state.means.clear()
        self.seconds = 0.0

    def on_validation(self, state: TrainingState, result: ValidationResult) -> None:
        """Write a record of the validation, its examples and what it warns of."""
        if self._log is None:
            return
        record = head("validation", state) | dict(result.values)
        record["seconds"] = time.perf_counter() - state.began
        self._log.write(record)
        self._console.validation(record, result.best)
        if result.cube:
            self._log.write(head("cube", state) | dict(result.cube))
        if result.examples:
            self._log.write(head("examples", state) | {"examples": result.examples})
        # Before the first update a random start is collapsed by nature.
        mode = state.config.model.dynamics.mode
        found = find_warnings(result.values, mode) if state.progress.update else []
        for warning in found:
            self._log.write(head("warning", state) | warning)
            self._console.warning(warning["message"])

    def on_end(self, state: TrainingState, reason: Reason) -> None:
        """Write the last record, unless the run will be resumed."""
        if self._log is not None and reason != "interrupted":
            self._log.write(head("end", state) | {"reason": reason})

    def close(self) -> None:
        """Close the log and the console."""
        self._open.close()
        self._log = None

    def state_dict(self) -> dict[str, Any]:
        """Bring the log to disk; its length, and what belongs to the next record."""
        if self._log is not None:
            self.metrics_bytes = self._log.sync()
        return {
            "metrics_bytes": self.metrics_bytes,
            "seconds": self.seconds,
            "cache_hit_rate": self.cache_hit_rate,
        }

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Restore them; the log is cut to its length when the run folder is resumed."""
        self.metrics_bytes = values["metrics_bytes"]
        self.seconds = values["seconds"]
        self.cache_hit_rate = values["cache_hit_rate"]
