"""Console output of a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# Name, width and format of the columns of the validation table; one more follows per expert.
_COLUMNS = (
    ("update", 8, ""),
    ("epoch", 6, ""),
    ("phase", 12, ".11"),
    ("loss", 8, ".4f"),
    ("expl.var", 9, ".4f"),
    ("cosine", 8, ".4f"),
    ("centred", 8, ".4f"),
    ("recall@1", 9, ".4f"),
    ("rank", 6, ".0f"),
)


class TrainingConsole:
    """A progress bar on a terminal, plain lines elsewhere, and a table row per validation.

    Args:
        total: updates of the whole run.
        done: updates done before.
        console: where to write; None: standard output.
    """

    def __init__(self, total: int, done: int = 0, console: Console | None = None) -> None:
        self.console = Console() if console is None else console
        self._total = total
        self._has_header = False
        self._bar: Progress | None = None
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._task = self._bar.add_task("training", total=total, completed=done)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, done: int) -> None:
        """Move the bar to ``done`` updates."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done)

    def train(self, record: Mapping[str, Any]) -> None:
        """Show a training record: in the bar, or as a line; shares of the gradient as a line."""
        if shares := record.get("gradient_shares"):
            largest = sorted(shares.items(), key=lambda item: -item[1])
            text = "  ".join(f"{name} {share:.1%}" for name, share in largest)
            self.line(f"share of the gradient: {text}")
        loss, speed = record["losses"]["total"], record["samples_per_second"]
        if self._bar is not None:
            text = f"{record['phase']} loss {loss:.4f}, {speed:.0f} samples/s"
            self._bar.update(self._task, description=text)
            return
        self.line(
            f"update {record['update']}/{self._total}  epoch {record['epoch']}  {record['phase']}  "
            f"loss {loss:.4f}  rate {record['learning_rate']:.2e}  "
            f"grad {record['grad_norm']['total']:.3f}  {speed:.0f} samples/s"
        )

    def validation(self, record: Mapping[str, Any], best: bool) -> None:
        """Show a validation record as a row; the best one so far has a star."""
        usage = record["usage"]
        columns = [*_COLUMNS, *((name, max(7, len(name) + 1), ".3f") for name in usage)]
        if not self._has_header:
            self._has_header = True
            self.line("".join(f"{name:>{width}}" for name, width, _ in columns))
        values = (
            record["update"],
            record["epoch"],
            record["phase"],
            record["losses"]["total"],
            record["explained_variance"],
            record["cosine"],
            record["centred_cosine"],
            record["recall_at_1"],
            record["spread"].get("effective_rank", math.nan),
            *usage.values(),
        )
        cells = (
            f"{value:>{width}{form}}"
            for value, (_, width, form) in zip(values, columns, strict=True)
        )
        self.line("".join(cells) + (" *" if best else ""))

    def warning(self, message: str) -> None:
        """Show something that the user should look into."""
        self.line(f"WARNING: {message}", style="bold yellow")

    def line(self, text: str, style: str | None = None) -> None:
        """Print one line as it is, above the bar where there is one."""
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
