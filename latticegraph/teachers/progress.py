"""Progress of a long pass over text: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from latticegraph.teachers.protocol import ProgressCallback

QUIET_BELOW = 256
PLAIN_LINES = 5


@contextmanager
def show_progress(
    title: str, total: int, console: Console | None = None
) -> Iterator[ProgressCallback]:
    """A callback that advances the display; nothing is shown for short passes.

    Args:
        title: what is counted, for instance ``embedding with all-MiniLM-L6-v2``.
        total: number of texts; below 256 nothing is shown.
        console: where to draw; None takes standard error.
    """
    console = Console(stderr=True) if console is None else console
    if total < QUIET_BELOW:
        yield lambda count: None
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Bar(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda count: bar.advance(task, count)
    else:
        yield _plain_lines(title, total, console)


def _plain_lines(title: str, total: int, console: Console) -> ProgressCallback:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if done * PLAIN_LINES // total > before * PLAIN_LINES // total:
            console.print(f"{title}: {done:,} of {total:,} texts", highlight=False, soft_wrap=True)

    return advance
