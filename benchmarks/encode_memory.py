"""Memory and time of ``latticegraph encode`` for more and more rows of teacher embeddings.

Run ``python benchmarks/encode_memory.py --model runs/8cube/model --json FILE``. Memory is the peak
of what the process owns (anonymous pages); pages of the mapped input can be dropped at any time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

LOOK_EVERY = 0.05  # seconds
BLOCK = 4096  # rows written at a time


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Memory of encoding.")
    parser.add_argument("--model", required=True, metavar="DIR")
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000, 20_000, 100_000])
    parser.add_argument("--json", metavar="FILE", help="also write the rows as JSON")
    options = parser.parse_args()
    settings = json.loads((Path(options.model) / "config.json").read_text(encoding="utf-8"))
    width = settings["teacher"]["dimension"]
    found = [measure(options.model, rows, width) for rows in options.rows]
    sys.stdout.write("   rows  peak MB  seconds\n")
    for row in found:
        sys.stdout.write("{rows:7,d}  {peak_mb:7.0f}  {seconds:7.1f}\n".format(**row))
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2), encoding="utf-8")
    return 0


def measure(model: str, rows: int, width: int) -> dict[str, Any]:
    """Encode normal rows of length 1 once.

    Args:
        model: folder.
        rows: how many.
        width: of the teacher.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder / "in.npy", rows, width)
        words = ["encode", "--model", model, "--input", str(folder / "in.npy")]
        words += ["--output", str(folder / "out.npy")]
        start, peak = time.perf_counter(), 0.0
        with subprocess.Popen(
            [sys.executable, "-m", "latticegraph", *words], stderr=subprocess.DEVNULL
        ) as process:
            while process.poll() is None:
                peak = max(peak, _own_mb(process.pid))
                time.sleep(LOOK_EVERY)
        seconds = time.perf_counter() - start
        if process.returncode:
            raise SystemExit(f"expected success, got {process.returncode} for {' '.join(words)}")
        written = np.load(folder / "out.npy", mmap_mode="r").shape
    if written != (rows, width):
        raise SystemExit(f"expected {(rows, width)}, got {written}")
    return {"rows": rows, "peak_mb": peak, "seconds": seconds}


def _write(path: Path, rows: int, width: int) -> None:
    random = np.random.default_rng(0)
    array = np.lib.format.open_memmap(path, "w+", np.float32, (rows, width))
    for start in range(0, rows, BLOCK):
        block = random.standard_normal((min(BLOCK, rows - start), width), np.float32)
        array[start : start + BLOCK] = block / np.linalg.norm(block, axis=1, keepdims=True)
    array.flush()


def _own_mb(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    lines = dict(line.split(":", 1) for line in text.splitlines())
    return int(lines.get("RssAnon", "0 kB").split()[0]) / 1000


if __name__ == "__main__":
    sys.exit(main())
