"""Peak memory of a process that records a rollout, in memory or on disk.

Run ``python benchmarks/recording.py --samples 128 --json FILE``; each case is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CASES = ("none", "memory", "disk")


def main() -> int:
    """Measure every case in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description="Peak memory of recording a rollout.")
    parser.add_argument("--config", default="configs/27cube.yaml", metavar="FILE")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--samples", type=int, default=128, metavar="N")
    parser.add_argument("--batch", type=int, default=8, metavar="B")
    parser.add_argument("--case", choices=CASES, help="one case in this process")
    parser.add_argument("--json", metavar="FILE", help="also write the rows as JSON")
    options = parser.parse_args()
    if options.case:
        row = measure(options.config, options.set, options.samples, options.batch, options.case)
        sys.stdout.write(json.dumps(row) + "\n")
        return 0
    rows = []
    for case in CASES:
        words = [sys.executable, __file__, "--config", options.config, "--case", case]
        words += ["--samples", str(options.samples), "--batch", str(options.batch)]
        words += ["--set", *options.set] if options.set else []
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        rows.append(row)
        sys.stdout.write(
            "{case:7s} peak {peak_mb:6.0f} MB, trajectory {trajectory_mb:6.0f} MB, "
            "{seconds:6.1f} s\n".format(**row)
        )
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2), encoding="utf-8")
    return 0


def measure(
    config_file: str, overrides: list[str], samples: int, batch: int, case: str
) -> dict[str, Any]:
    """Peak resident memory of this process after it has recorded a rollout."""
    from latticegraph.startup import tune_process

    tune_process()
    import torch

    from latticegraph.aggregation import resolve_backend
    from latticegraph.config import load_config
    from latticegraph.dynamics import DiskRecorder, TrajectoryRecorder, read_trajectory
    from latticegraph.hub.inference import run_student
    from latticegraph.lattice import LatticeGraph
    from latticegraph.model import build_student

    torch.manual_seed(0)
    config = load_config(config_file, overrides)
    graph = LatticeGraph.build(config.lattice)
    backend = resolve_backend(config.model, graph, batch, "cpu")
    width = config.teacher.dimension
    student = build_student(config.model, graph, width, backend=backend)
    source_ND = torch.randn(samples, width)
    began = time.perf_counter()
    steps = config.model.dynamics.steps
    size = (steps + 1) * config.model.state_channels * graph.num_cells * samples * 4
    if case == "disk":
        with tempfile.TemporaryDirectory(dir=".") as folder:
            path = Path(folder) / "states.npy"
            with DiskRecorder(path, samples) as recorder:
                run_student(student, source_ND, batch, "float32", recorder=recorder)
            assert read_trajectory(path).shape[3] == samples
    else:
        # One recorder per batch: it holds the samples of a single rollout.
        kept = []
        for rows_BD in source_ND.split(batch):
            kept.append(TrajectoryRecorder() if case == "memory" else None)
            run_student(student, rows_BD, batch, "float32", recorder=kept[-1])
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "case": case,
        "cells": graph.num_cells,
        "samples": samples,
        "batch": batch,
        "peak_mb": peak,
        "trajectory_mb": size / 2**20,
        "seconds": seconds,
    }


if __name__ == "__main__":
    sys.exit(main())
