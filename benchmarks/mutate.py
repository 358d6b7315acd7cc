"""Put small faults into the package, one at a time, and see whether tests of its room find them.

Run ``python benchmarks/mutate.py --sample 300 --seed 1 --json mutants.json``. A fault that no test
finds survives: a test is missing, or the fault changes nothing that can be seen. Called again with
the same options and file, it goes on where ``--minutes`` ended it.

Every fault is tried in a fork of this process, which has imported pytest and what the package
needs, but not the package. The file of tests that is named like the module runs first, then those
that name what the module defines, or the method with the fault. Slow tests, and those that
start processes, are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import trial
from mutants import mutants

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("model", "aggregation", "losses", "training", "teachers", "dynamics")
SLOWER = 4.0  # times the tests as they are: a fault that takes longer has been found
LEAST = 30.0  # seconds that a fault may take at least
OFTEN = 0.01  # seconds between two looks


@dataclass(frozen=True)
class Task:
    """One fault, or none: ``index`` -1.

    Attributes:
        room: folder of the package.
        path: of the module, below the root.
        index: of the fault in the module.
        line: of the fault.
        kind: of the fault.
        change: the code before and after.
    """

    room: str
    path: str
    index: int
    line: int = 0
    kind: str = ""
    change: str = ""


@dataclass
class Running:
    """A fork that tries a task."""

    task: Task
    pid: int
    folder: Path
    started: float
    limit: float


def main() -> int:
    """Try a sample and print a table."""
    parser = argparse.ArgumentParser(description="Mutation testing of the package.")
    parser.add_argument("--sample", type=int, default=100, metavar="N", help="faults to try")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--rooms", nargs="+", default=list(ROOMS), choices=ROOMS, metavar="ROOM")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="forks at a time")
    parser.add_argument("--minutes", type=float, default=None, help="start no fault after this")
    parser.add_argument("--json", metavar="FILE", help="write results here, and go on from them")
    options = parser.parse_args()
    os.chdir(ROOT)
    path = None if options.json is None else Path(options.json)
    known = [] if path is None or not path.exists() else json.loads(path.read_text("utf-8"))
    tasks = sample(options.rooms, options.sample, options.seed)
    done = {(row["path"], row["index"]) for row in known}
    left = [task for task in tasks if (task.path, task.index) not in done]
    deadline = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    trial.preload()
    rows = list(known)
    for row in _tried(left, rows, options.workers, deadline):
        rows.append(row)
        sys.stdout.write("{outcome:8s} {seconds:6.1f} s  {path}:{line}  {change}\n".format(**row))
        sys.stdout.flush()
        if path is not None:
            unfinished = path.with_suffix(".partial")
            unfinished.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
            unfinished.replace(path)
    sys.stdout.write(table(rows))
    return 0


def sample(rooms: Sequence[str], size: int, seed: int) -> list[Task]:
    """Faults drawn at random from all those of some rooms; fewer where there are not as many.

    Args:
        rooms: folders of the package.
        size: of the sample.
        seed: the same one draws the same faults.
    """
    tasks = []
    for room in rooms:
        for path in sorted((ROOT / "latticegraph" / room).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            for m in mutants(path.read_text(encoding="utf-8")):
                tasks.append(Task(room, name, m.index, m.line, m.kind, m.change))
    return random.Random(seed).sample(tasks, min(size, len(tasks)))


def _tried(
    tasks: Sequence[Task], known: Sequence[dict[str, Any]], workers: int, deadline: float | None
) -> Iterator[dict[str, Any]]:
    """Results of tasks, as they end; first the tests of their rooms without a fault."""
    usual = {row["room"]: row["seconds"] for row in known if row["outcome"] == "passed"}
    rooms = sorted({task.room for task in tasks} - usual.keys())
    bare = [Task(room, f"latticegraph/{room}/__init__.py", -1) for room in rooms]
    waiting, running = [*bare, *tasks], []
    while waiting or running:
        late = deadline is not None and time.monotonic() > deadline
        while waiting and not late and len(running) < workers:
            task = waiting[0]
            if task.index >= 0 and task.room not in usual:
                break  # the tests of its room still run without a fault
            limit = 3600.0 if task.index < 0 else max(LEAST, SLOWER * usual[task.room])
            running.append(_started(waiting.pop(0), limit))
        if late and not running:
            return
        for fork in list(running):
            if (row := _result(fork)) is not None:
                running.remove(fork)
                if fork.task.index < 0:
                    _check_passed(row)
                    usual[fork.task.room] = row["seconds"]
                yield row
        time.sleep(OFTEN)


def _started(task: Task, limit: float) -> Running:
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    tests = trial.tests_of(ROOT, task.room, ROOT / task.path, task.line)
    pid = os.fork()
    if pid == 0:
        trial.run(ROOT, task.path, task.index, tests, folder)
    return Running(task, pid, folder, time.monotonic(), limit)


def _result(fork: Running) -> dict[str, Any] | None:
    """What came out; None while it runs."""
    seconds = time.monotonic() - fork.started
    pid, status = os.waitpid(fork.pid, os.WNOHANG)
    late = pid == 0 and seconds > fork.limit
    if pid == 0 and not late:
        return None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(fork.pid, signal.SIGKILL)  # what the tests have started, too
    if late:
        os.waitpid(fork.pid, 0)
        code: int | None = None
    else:
        code = os.waitstatus_to_exitcode(status)
    by = trial.failed_test(fork.folder)
    shutil.rmtree(fork.folder, ignore_errors=True)
    if fork.task.index < 0:
        outcome = "passed" if code == 0 else "failed"
    else:
        outcome = "timeout" if code is None else "survived" if code == 0 else "killed"
    return asdict(fork.task) | {"outcome": outcome, "by": by, "seconds": round(seconds, 2)}


def _check_passed(row: dict[str, Any]) -> None:
    if row["outcome"] != "passed":
        raise SystemExit(
            f"the tests of {row['room']} fail without a fault ({row['by']}); repair them first"
        )


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rooms with what was tried and found, and the faults that survived.

    Args:
        rows: results; those of the tests without a fault are left out.
    """
    tried = [row for row in rows if row["index"] >= 0]
    lines = [f"{'room':12s} {'tried':>6s} {'killed':>7s} {'survived':>9s}"]
    for room in [*sorted({row["room"] for row in tried}), "all"]:
        own = [row for row in tried if room in ("all", row["room"])]
        alive = sum(row["outcome"] == "survived" for row in own)
        lines.append(f"{room:12s} {len(own):6d} {len(own) - alive:7d} {alive:9d}")
    for row in tried:
        if row["outcome"] == "survived":
            lines.append("{path}:{line}  {kind}: {change}".format(**row))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
