"""Kill a run again and again, with a second process at its heels, and compare what comes out.

Run ``python benchmarks/chaos.py --kills 50``. One undisturbed run comes first. Then two processes
start ``latticegraph train --resume auto`` on one run folder and one embedding cache, again whenever
they end, while one of them is killed (SIGKILL) at random moments of the teacher pass, of training,
of writing a checkpoint, of training the control and of the report. A round ends when a process
finishes the run; weights, metrics and report must then be those of the undisturbed run, bit for
bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STAGES = ("teacher pass", "training", "checkpoint", "control", "report")
# What the log says when a stage begins; a checkpoint is seen by its unfinished file.
BEGINS = {
    "teacher pass": "text: ",
    "training": "embeddings: ",
    "control": "control: ",
    "report": "report: ",
}
KILLS_PER_ROUND = 7
PATIENCE = 900.0
NAME = "chaos"
TEXTS = 400


def main() -> int:
    """Run everything and print the counts; status 1 where anything differs."""
    parser = argparse.ArgumentParser(description="Kill runs at random and compare the results.")
    parser.add_argument("--config", default="configs/tiny.yaml", metavar="FILE")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--kills", type=int, default=50, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="also write the counts as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        overrides = [*options.set, *_text(Path(place))]
        counts = disturb(Path(options.config), overrides, Path(place), options.kills, options.seed)
    text = json.dumps(counts, indent=2)
    sys.stdout.write(text + "\n")
    if options.json:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    return 0 if is_clean(counts) else 1


def is_clean(counts: dict[str, Any]) -> bool:
    """Whether every round ended like the undisturbed run and no process ended in another way."""
    return counts["rounds equal"] == counts["rounds"] > 0 and not counts["unexpected ends"]


def _text(place: Path) -> list[str]:
    """A file of so few sentences that a round is short, and so many that the teacher takes time."""
    from latticegraph.data.dialogues import dialogue_turns

    sentences = dict.fromkeys(turn["text"] for turn in dialogue_turns())
    path = place / "text.txt"
    path.write_text("\n".join(list(sentences)[:TEXTS]), encoding="utf-8")
    return [f"data.train={path}", "data.heldout=0.1"]


@dataclass
class Worker:
    """One process of the run, started again whenever it ends."""

    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    def start(self) -> None:
        """Start the process, with a fresh log."""
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command, stdout=subprocess.DEVNULL, stderr=log, env=environment
            )
        self.starts += 1

    def stage(self) -> str | None:
        """The last stage that the log names; None before the first."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        found = [name for name, sign in BEGINS.items() if f"\n{sign}" in f"\n{text}"]
        return found[-1] if found else None


@dataclass
class Round:
    """One run folder from its start to its end, with the kills that it is to survive."""

    folder: Path
    workers: list[Worker]
    plan: list[str]
    rng: random.Random
    lasts: dict[str, float]
    kills: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    unexpected: list[str] = field(default_factory=list)
    due: float | None = None

    def run(self) -> bool:
        """Kill and start again until a process finishes the run; whether one did."""
        began = time.monotonic()
        for worker in self.workers:
            worker.start()
        try:
            while not self._finished():
                self._maybe_kill()
                if time.monotonic() - began > PATIENCE:
                    self.unexpected.append(f"no end after {PATIENCE:.0f} s")
                    return False
                time.sleep(0.003)
            return True
        finally:
            for worker in self.workers:
                assert worker.process is not None
                worker.process.kill()
                worker.process.wait()

    def _finished(self) -> bool:
        for worker in self.workers:
            assert worker.process is not None
            status = worker.process.poll()
            if status is None:
                continue
            if status == 0:
                return True
            log = worker.log.read_text(encoding="utf-8", errors="replace")
            if status == 2 and "held by" in log:
                self.refused += 1
            elif status != -9:
                self.unexpected.append(f"status {status}: {log[-600:]}")
            worker.start()
        return False

    def _maybe_kill(self) -> None:
        """Kill the process at work once it has been in the planned stage for a random time."""
        if not self.plan:
            return
        worker = self._at_work()
        stage = None if worker is None else worker.stage()
        if worker is None or stage is None:
            return
        wanted = self.plan[0]
        if wanted == "checkpoint":
            due = any((self.folder / "checkpoints").glob(".*.partial"))
        else:
            reached = STAGES.index(stage) >= STAGES.index(wanted)
            if reached and self.due is None:
                self.due = time.monotonic() + self.rng.uniform(0, self.lasts.get(wanted, 1.0))
            due = self.due is not None and time.monotonic() >= self.due
        if due and worker.process is not None:
            worker.process.kill()
            worker.process.wait()
            self.kills["checkpoint" if wanted == "checkpoint" else stage] += 1
            self.plan.pop(0)
            self.due = None

    def _at_work(self) -> Worker | None:
        """The process that holds the folder; before there is one, either."""
        holder = self.folder / ".holder.json"
        try:
            number = json.loads(holder.read_text(encoding="utf-8"))["process"]
        except (OSError, ValueError):
            if self.folder.exists():
                return None
            return self.rng.choice(self.workers)
        owners = [w for w in self.workers if w.process is not None and w.process.pid == number]
        return owners[0] if owners else None


def disturb(
    config: Path, overrides: list[str], place: Path, kills: int, seed: int = 0
) -> dict[str, Any]:
    """An undisturbed run, then rounds with kills until there were enough.

    Args:
        config: YAML file of the run.
        overrides: ``dotted.key=value`` for all runs.
        place: empty folder for runs and caches.
        kills: how many in all rounds together.
        seed: of stages and moments.

    Returns:
        Counts, as JSON values.
    """
    rng = random.Random(seed)
    began = time.monotonic()
    place.mkdir(parents=True, exist_ok=True)
    calm = Worker(_command(config, overrides, place / "calm"), place / "calm.log")
    lasts = _undisturbed(calm)
    kept = outcome(place / "calm" / NAME)
    counts: Counter[str] = Counter()
    total: dict[str, Any] = {"rounds": 0, "rounds equal": 0, "refused": 0, "starts": 0}
    differences: list[str] = []
    unexpected: list[str] = []
    while counts.total() < kills and len(unexpected) < 5:
        wanted = min(KILLS_PER_ROUND, kills - counts.total())
        plan = sorted((rng.choice(STAGES) for _ in range(wanted)), key=STAGES.index)
        home = place / f"round-{total['rounds']}"
        words = _command(config, overrides, home)
        workers = [Worker(words, place / f"worker-{number}.log") for number in range(2)]
        one = Round(home / NAME, workers, plan, rng, lasts)
        ended = one.run()
        counts += one.kills
        unexpected += one.unexpected
        found = compare(kept, outcome(one.folder)) if ended else ["no end"]
        differences += [f"round {total['rounds']}: {name}" for name in found]
        total["rounds"] += 1
        total["rounds equal"] += not found
        total["refused"] += one.refused
        total["starts"] += sum(worker.starts for worker in workers)
        sys.stderr.write(f"round {total['rounds']}: {dict(one.kills)}, refused {one.refused}\n")
    return {
        "kills": counts.total(),
        "kills by stage": dict(counts),
        **total,
        "unexpected ends": unexpected,
        "differences": differences,
        "seconds": round(time.monotonic() - began),
    }


def outcome(folder: Path) -> dict[str, Any]:
    """What a run leaves that must not depend on how often it was killed."""
    from safetensors.torch import load_file

    from latticegraph.training import MACHINE_FIELDS, read_checkpoint

    found: dict[str, Any] = {}
    for name in ("checkpoints", "without_lattice/checkpoints"):
        for kind in ("best", "last"):
            stored = read_checkpoint(folder / name / f"{kind}.safetensors")
            for part in ("student", "optimizer"):
                for key, tensor in getattr(stored, part).items():
                    found[f"{name}/{kind}/{part}/{key}"] = tensor.numpy().tobytes()
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    # The share of texts found in the cache is that of the start that came to train.
    skipped = {*MACHINE_FIELDS, "cache_hit_rate"}
    for name in sorted({key for row in rows for key in row} - skipped):
        found[f"metrics/{name}"] = [row.get(name) for row in rows]
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    for row in ("student", "lattice_off", "lattice_off_retrained", "baselines", "examples"):
        found[f"report/{row}"] = report[row]
    weights = load_file(folder / "model" / "model.safetensors")
    return found | {f"model/{name}": value.numpy().tobytes() for name, value in weights.items()}


def compare(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """Names of what differs."""
    return sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))


def _command(config: Path, overrides: list[str], home: Path) -> list[str]:
    words = [sys.executable, "-c", "import latticegraph.cli as c; raise SystemExit(c.main())"]
    own = [f"run.output_dir={home}", f"run.name={NAME}", "run.threads=1", "run.device=cpu"]
    cache = f"teacher.cache_dir={home / 'cache'}"
    return [*words, "train", "--config", str(config), "--resume", "auto", "--set", *overrides,
            *own, cache]  # fmt: skip


def _undisturbed(calm: Worker) -> dict[str, float]:
    """Run once to the end; how long every stage took, in seconds."""
    calm.start()
    assert calm.process is not None
    entered: dict[str, float] = {}
    while calm.process.poll() is None:
        stage = calm.stage()
        if stage is not None:
            entered.setdefault(stage, time.monotonic())
        time.sleep(0.005)
    if calm.process.returncode != 0:
        raise RuntimeError(calm.log.read_text(encoding="utf-8"))
    times = [*entered.values(), time.monotonic()]
    return {name: after - at for (name, at), after in zip(entered.items(), times[1:], strict=True)}


if __name__ == "__main__":
    raise SystemExit(main())
