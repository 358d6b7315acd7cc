"""How long a run takes to its first ten updates, beside importing torch and transformers alone.

    python benchmarks/start_up.py configs/8cube.yaml configs/8cube_near.yaml

Each configuration is run once to fill the caches. Then the import and the runs take turns, each in
a process of its own, and medians are compared: of the time on the clock, and of the processor's
time, which a busy machine changes less but which adds up over threads.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TENTH = "update 10/"


class Seconds(NamedTuple):
    """Time of one process: on the clock, and of all its threads together."""

    clock: float
    processor: float


def until(words: Sequence[str], marker: str | None) -> Seconds:
    """Run a process until it prints a line that starts with ``marker``, or to its end.

    Args:
        words: the command.
        marker: start of the line, after which the process is stopped; None: let it end.

    Raises:
        RuntimeError: when the process fails, or never prints the line.
    """
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    environment["PYTHONUNBUFFERED"] = "1"
    used = _of_children()
    began = time.perf_counter()
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        seen = next((line for line in process.stdout if marker and line.startswith(marker)), None)
        clock = time.perf_counter() - began
        if seen is not None:
            process.send_signal(signal.SIGKILL)
    if (seen is None) != (marker is None) or (marker is None and process.returncode):
        raise RuntimeError(f"expected {marker or 'success'} from {' '.join(words)}")
    return Seconds(clock, _of_children() - used)


def compare(configs: Sequence[str], rounds: int) -> None:
    """Print seconds and ratios of every configuration.

    Args:
        configs: YAML files.
        rounds: measurements of each, at least 1.
    """
    alone = [sys.executable, "-c", "import torch, transformers"]
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: _command(name, folder) for name in configs}
        for words in runs.values():
            until(words, TENTH)
        imports: list[Seconds] = []
        found: dict[str, list[Seconds]] = {name: [] for name in configs}
        for _ in range(rounds):
            imports.append(until(alone, None))
            for name, words in runs.items():
                found[name].append(until(words, TENTH))
    base = _medians(imports)
    sys.stdout.write(
        f"import torch, transformers: {base.clock:.2f} s, processor {base.processor:.2f} s\n"
    )
    for name, times in found.items():
        own = _medians(times)
        ratio = statistics.median(
            run.clock / one.clock for run, one in zip(times, imports, strict=True)
        )
        sys.stdout.write(
            f"{name}, ten updates: {own.clock:.2f} s, {ratio:.2f} times the import; processor "
            f"{own.processor:.2f} s, {own.processor / base.processor:.2f} times\n"
        )


def _command(config: str, folder: str) -> list[str]:
    chosen = ["--config", config, "--set", f"run.output_dir={folder}", "training.log_every=10"]
    return [sys.executable, "scripts/train.py", *chosen]


def _of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _medians(times: Sequence[Seconds]) -> Seconds:
    return Seconds(*(statistics.median(column) for column in zip(*times, strict=True)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="+", help="YAML files")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default 5)")
    options = parser.parse_args()
    compare(options.configs, options.rounds)
