"""Progress of a long pass: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

ProgressCallback = Callable[[int], None]
"""Is told how many more are done."""

QUIET_BELOW = 256
PLAIN_LINES = 5
FIRST_SECONDS = 5.0  # then the first estimate of what is left, however little is done


@contextmanager
def show_progress(
    title: str,
    total: int,
    console: Console | None = None,
    unit: str = "texts",
    quiet_below: int = QUIET_BELOW,
) -> Iterator[ProgressCallback]:
    """A callback that advances the display; nothing is shown for short passes.

    Args:
        title: what is counted, for instance ``embedding with all-MiniLM-L6-v2``.
        total: how many there are.
        console: where to draw; None takes standard error.
        unit: of what is counted.
        quiet_below: totals for which nothing is shown.
    """
    if total < quiet_below:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True) if console is None else console
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Bar(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda count: bar.advance(task, count)
    else:
        yield _plain_lines(title, total, console, unit)


def _plain_lines(title: str, total: int, console: Console, unit: str) -> ProgressCallback:
    done, start, said_first = 0, time.monotonic(), False

    def advance(count: int) -> None:
        nonlocal done, said_first
        before, done = done, done + count
        elapsed = time.monotonic() - start
        due = done * PLAIN_LINES // total > before * PLAIN_LINES // total
        if not done or (not due and (said_first or elapsed < FIRST_SECONDS)):
            return
        said_first = True
        left = elapsed * (total - done) / done
        time_left = f", about {duration(left)} left" if done < total and left >= 1 else ""
        console.print(
            f"{title}: {done:,} of {total:,} {unit}{time_left}", highlight=False, soft_wrap=True
        )

    return advance


def duration(seconds: float) -> str:
    """A length of time for people: seconds below a minute and a half, minutes from there.

    >>> duration(52.4), duration(151)
    ('52 s', '3 min')
    """
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
