"""Two processes fill one embedding cache and are killed at random; counts what goes wrong.

Run ``python benchmarks/cache_kills.py --kills 20``. Each process asks for all texts in an order of
its own, from a slow teacher whose embeddings follow from the text, and starts again when it was
killed. A row is wrong if it is not what the teacher gives; a text is recomputed if the teacher is
asked for it although a process had stored it before the cache was looked through for it.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

WIDTH = 48
PAUSE = 0.0002


def main() -> int:
    """Run and print the counts; status 1 where a row was wrong or computed again."""
    parser = argparse.ArgumentParser(description="Kill processes that share a cache.")
    parser.add_argument("--kills", type=int, default=20, metavar="N")
    parser.add_argument("--texts", type=int, default=6000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        counts = run(Path(place), options.kills, options.texts, options.seed)
    sys.stdout.write(json.dumps(counts, indent=2) + "\n")
    return 0 if is_clean(counts) else 1


def is_clean(counts: dict[str, Any]) -> bool:
    """Whether no row was wrong, nothing finished was computed again and nothing else failed."""
    return not any(counts[name] for name in ("wrong rows", "recomputed", "unexpected ends"))


def run(place: Path, kills: int, texts: int, seed: int = 0) -> dict[str, Any]:
    """Start, kill and start again; then read everything once more.

    Args:
        place: empty folder for the cache and the logs.
        kills: how many; the cache is emptied by a new folder whenever it is full before that.
        texts: in the cache.
        seed: of the moments.
    """
    rng = random.Random(seed)
    counts: dict[str, Any] = {
        "kills": 0, "rounds": 0, "wrong rows": 0, "recomputed": 0, "unexpected ends": [],
        "texts": texts, "asked": 0,
    }  # fmt: skip
    while counts["kills"] < kills:
        _round(place / f"round-{counts['rounds']}", kills, texts, rng, counts)
        counts["rounds"] += 1
    return counts


def _round(
    folder: Path, kills: int, texts: int, rng: random.Random, counts: dict[str, Any]
) -> None:
    """Fill one cache with two processes, killing one of them now and then."""
    folder.mkdir(parents=True)
    workers = [_start(folder, number, texts, 0) for number in range(2)]
    starts = [1, 1]
    done = [False, False]
    next_kill = time.monotonic() + rng.uniform(0.3, 1.5)
    while not all(done):
        for number, worker in enumerate(workers):
            status = worker.poll()
            if done[number] or status is None:
                continue
            if status == 0:
                done[number] = True
                continue
            if status != -9:
                assert worker.stderr is not None
                counts["unexpected ends"].append(worker.stderr.read().decode()[-600:])
                done[number] = True
                continue
            workers[number] = _start(folder, number, texts, starts[number])
            starts[number] += 1
        living = [number for number in range(2) if workers[number].poll() is None]
        if living and counts["kills"] < kills and time.monotonic() >= next_kill:
            chosen = workers[rng.choice(living)]
            chosen.kill()
            chosen.wait()
            counts["kills"] += 1
            next_kill = time.monotonic() + rng.uniform(0.1, 0.8)
        time.sleep(0.002)
    _count(folder, texts, counts)


def _start(folder: Path, number: int, texts: int, start: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, __file__, "--worker", str(folder), str(number), str(texts), str(start)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _count(folder: Path, texts: int, counts: dict[str, Any]) -> None:
    """Read all rows, and compare what was asked of the teachers with what was stored before."""
    from latticegraph.teachers import EmbeddingCache

    teacher = _teacher(None, [])
    found = EmbeddingCache(_settings(folder), teacher).embed(_texts(texts))
    counts["wrong rows"] += int((found != _rows(_texts(texts))).any(axis=1).sum())
    stored: dict[str, float] = {}
    asked: list[tuple[float, str]] = []
    for log in folder.glob("*.jsonl"):
        for line in log.read_text(encoding="utf-8").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # the last line of a killed process
            for text in event["texts"]:
                if event["what"] == "stored":
                    stored[text] = min(event["time"], stored.get(text, event["time"]))
                elif event["what"] == "asked":
                    asked.append((event["time"], text))
                else:
                    counts["wrong rows"] += 1
    counts["asked"] += len(asked)
    counts["recomputed"] += sum(stored.get(text, looked) < looked for looked, text in asked)


def _texts(count: int) -> list[str]:
    return [f"text {number} of many{'!' * (number % 13)}" for number in range(count)]


def _rows(texts: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    seeds = np.array([[int(text.split()[1]), len(text)] for text in texts], dtype=np.float64)
    places = np.arange(1, WIDTH + 1)
    return np.sin(seeds[:, :1] * places + seeds[:, 1:]).astype(np.float32)


def _settings(folder: Path) -> Any:
    from latticegraph.config import TeacherSettings

    return TeacherSettings(dimension=WIDTH, cache_dir=str(folder / "cache"))


def _teacher(log: Path | None, looked: list[float]) -> Any:
    from latticegraph.teachers import Teacher

    class Slow(Teacher):
        """Writes down what it is asked for, and when the cache was last looked through for it."""

        name, dimension = "slow", WIDTH
        fingerprint = "c" * 64

        def encode(self, texts: Any, progress: Any = None) -> Any:
            assert log is not None, "a text was not stored"
            _note(log, "asked", looked[-1], list(texts))
            time.sleep(PAUSE * len(texts))
            return _rows(list(texts))

    return Slow()


def _note(log: Path, what: str, when: float, texts: list[str]) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"what": what, "time": when, "texts": texts}) + "\n")


def work(folder: Path, number: int, count: int, start: int) -> None:
    """Embed all texts in an order of this process, and check every row."""
    from latticegraph.teachers import EmbeddingCache
    from latticegraph.teachers.store import RowStore

    log = folder / f"worker-{number}-{start}.jsonl"
    texts = _texts(count)
    random.Random(f"{number} {start}").shuffle(texts)
    rows = _rows(texts)
    text_of = {row.tobytes(): text for row, text in zip(rows, texts, strict=True)}
    looked: list[float] = []
    read, append = RowStore.read, RowStore.append

    def timed(self: RowStore, keys: Any) -> Any:
        looked.append(time.time())
        return read(self, keys)

    def noted(self: RowStore, keys: Any, rows_BD: Any) -> None:
        append(self, keys, rows_BD)
        _note(log, "stored", time.time(), [text_of[row.tobytes()] for row in rows_BD])

    RowStore.read, RowStore.append = timed, noted  # type: ignore[method-assign]
    cache = EmbeddingCache(_settings(folder), _teacher(log, looked))
    for part in np.array_split(np.arange(count), 4):
        found = cache.embed([texts[place] for place in part])
        wrong = (found != rows[part]).any(axis=1)
        if wrong.any():
            _note(log, "wrong", time.time(), [texts[place] for place in part[wrong]])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(Path(sys.argv[2]), *map(int, sys.argv[3:6]))
    else:
        raise SystemExit(main())
