"""Progress: plain lines off a terminal, a bar on one, nothing for short passes."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from latticegraph.progress import duration, show_progress


def shown(total: int, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100)
    with show_progress("embedding", total, console) as progress:
        for _ in range(total // 50):
            progress(50)
    return out.getvalue()


def test_show_progress_prints_five_plain_lines_off_a_terminal() -> None:
    lines = shown(1000, terminal=False).splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "200 of 1,000 texts",
        "400 of 1,000 texts",
        "600 of 1,000 texts",
        "800 of 1,000 texts",
        "1,000 of 1,000 texts",
    ]


def test_show_progress_draws_a_bar_on_a_terminal() -> None:
    assert "1000/1000" in shown(1000, terminal=True)


def test_show_progress_is_quiet_for_short_passes() -> None:
    assert shown(200, terminal=False) == shown(200, terminal=True) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (151, "3 min")]
)
def test_time_left_is_told_in_minutes_from_a_minute_and_a_half_on(
    seconds: float, text: str
) -> None:
    assert duration(seconds) == text
