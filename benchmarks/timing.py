"""Times of several cases, run in turn, so that other load on the machine affects all equally."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

SLOW = 5


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: turns of every case.
        seconds: to spend on each case, about. A case whose run takes longer is run twice, and one
            whose run takes ``SLOW`` times as long is not run again after the first.
    """

    rounds: int
    seconds: float


FULL = Effort(rounds=7, seconds=1.0)
QUICK = Effort(rounds=3, seconds=0.02)


def interleaved(
    cases: Mapping[str, Callable[[], object]], effort: Effort, device: torch.device
) -> dict[str, list[float]]:
    """Milliseconds of every timed run of each case, after two that are not counted.

    Args:
        cases: what to run, by name; each has run before.
        effort: how often.
        device: waited for after every run.
    """
    budget_ms = 1e3 * effort.seconds
    first = {name: _milliseconds(case, device) for name, case in cases.items()}
    times = {name: [ms] if ms > SLOW * budget_ms else [] for name, ms in first.items()}
    left = {name: case for name, case in cases.items() if not times[name]}
    # The first run may have found cold caches.
    costs = {name: min(first[name], _milliseconds(case, device)) for name, case in left.items()}
    for turn in range(effort.rounds):
        for name, case in left.items():
            if turn >= 2 and sum(times[name]) > budget_ms:
                continue
            for _ in range(max(1, int(budget_ms / effort.rounds / costs[name]))):
                times[name].append(_milliseconds(case, device))
    return times


def median_ms(times: list[float]) -> float:
    """Median, rounded to a nanosecond."""
    return round(statistics.median(times), 6)


def _milliseconds(case: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    case()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e3


class Others:
    """Share of all cores that other processes, or other guests of the host, used since made.

    Above a few percent the times are too long, and ratios are all that can be trusted.
    """

    def __init__(self) -> None:
        self._start = _cpu_seconds()
        self._wall = time.perf_counter()
        self._own = time.process_time()

    def share(self) -> float | None:
        """The share, 0 to 1; None where the system does not tell."""
        now = _cpu_seconds()
        if now is None or self._start is None:
            return None
        wall = (time.perf_counter() - self._wall) * (os.cpu_count() or 1)
        used = now - self._start - (time.process_time() - self._own)
        return round(min(1.0, max(0.0, used / wall)), 3)


def _cpu_seconds() -> float | None:
    """Seconds that all cores were busy or taken away since the machine started (Linux)."""
    source = Path("/proc/stat")
    if not source.exists():
        return None
    fields = [int(n) for n in source.read_text(encoding="utf-8").splitlines()[0].split()[1:]]
    user, nice, system, _, _, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
