"""Time and memory of the sum over neighbours, backend by backend, and of a whole lattice step.

Run ``python benchmarks/aggregation.py --sizes 8 15``. One "sum" is the forward and backward pass
of the neighbour sums over all three edge types; one "step" that of Lattice3D.step. Both backends
see the same graph, states and weights, and their results are compared before anything is timed.

Legend: C channels, N cells, B batch, E edges, H heads.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Read once, when torch is imported: the profiler says nothing of its starts and stops.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from latticegraph.aggregation import BACKENDS, Backend, sparse_neighbour_sum
from latticegraph.config import LatticeSettings, ModelSettings
from latticegraph.errors import LatticeGraphError
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Lattice3D
from latticegraph.pipeline.json_file import write_json

COPIES = 3  # tensors per edge, channel and sample: gathered values, their product, its gradient
TOLERANCE = 1e-4  # largest accepted difference between backends / largest value


def main(arguments: list[str] | None = None) -> int:
    """Measure, show a table, and write the numbers where ``--json`` says.

    Args:
        arguments: the options; None takes those of the process.

    Returns:
        The exit status: 0, or 2 for an error of the user's.
    """
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    # Every CSR product says that its layout is in beta.
    warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
    console = Console()
    rows = []
    try:
        for size in options.sizes:
            rows += _measure_size(size, options, console)
        console.print(_table(rows))
        if options.json is not None:
            write_json(options.json, _result(rows, options), "--json")
    except LatticeGraphError as error:
        Console(stderr=True).print(f"error: {error}", soft_wrap=True, markup=False)
        return 2
    return 0


def _result(rows: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    names = ("threads", "batch", "channels", "heads", "repeats")
    return {"torch": torch.__version__, **{n: getattr(options, n) for n in names}, "rows": rows}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compare the ways to sum over neighbours.")
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=_size,
        default=[(8, 8, 8), (15, 15, 15)],
        metavar="SIZE",
        help="side of a cube, or three sides such as 3x4x5 (default: 8 15)",
    )
    parser.add_argument("--batch", type=_positive, default=16, help="samples (default: 16)")
    parser.add_argument("--channels", type=_positive, default=16, help="per cell (default: 16)")
    parser.add_argument("--heads", type=_positive, default=16, help="edge weights (default: 16)")
    parser.add_argument("--repeats", type=_positive, default=5, help="timed runs (default: 5)")
    parser.add_argument("--threads", type=_positive, default=1, help="CPU threads (default: 1)")
    parser.add_argument(
        "--radius-min",
        type=float,
        default=1.0,
        help="lattice.adaptive_radius_min (default: 1.0); cubes below 5 need 1.6",
    )
    parser.add_argument(
        "--max-gb",
        type=float,
        default=2.0,
        help="leave scatter out where it would need more memory than this (default: 2)",
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the numbers here")
    return parser


def _size(text: str) -> tuple[int, int, int]:
    sides = [int(side) for side in text.split("x")]
    if len(sides) not in (1, 3) or min(sides) < 2:
        raise argparse.ArgumentTypeError(f"expected 8 or 3x4x5 (sides >= 2), got '{text}'")
    x, y, z = sides * 3 if len(sides) == 1 else sides
    return x, y, z


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {value}")
    return value


def _measure_size(
    size: tuple[int, int, int], options: argparse.Namespace, console: Console
) -> list[dict[str, Any]]:
    """One row per part (sum, step) and backend, spmm first."""
    if options.channels % options.heads:
        raise LatticeGraphError(
            "--heads",
            f"expected a divisor of --channels ({options.channels}), got {options.heads}",
            "Choose another number of heads",
        )
    graph = LatticeGraph.build(
        LatticeSettings(dimensions=size, adaptive_radius_min=options.radius_min)
    )
    name = "x".join(map(str, size))
    edges = graph.edge_type_E.numel()
    needed_gb = COPIES * edges * options.batch * options.channels * 4 / 1e9
    backends = list(BACKENDS)
    if needed_gb > options.max_gb:
        backends.remove("scatter")
        reason = (
            f"{name}: scatter skipped, its {edges:,} edges would need about {needed_gb:.3g} GB, "
            f"more than --max-gb {options.max_gb:g}"
        )
        console.print(reason, soft_wrap=True, highlight=False)
    cases = {backend: _cases(graph, backend, options) for backend in backends}
    rows = []
    for part in ("sum", "step"):
        _check_same([cases[backend][part] for backend in backends], f"{name} {part}")
        reference_ms = None
        for backend in backends:
            median_ms = _median_ms(cases[backend][part], options.repeats)
            reference_ms = reference_ms or median_ms
            row = {"size": name, "cells": graph.num_cells, "edges": edges, "part": part}
            row |= {"backend": backend, "median_ms": median_ms}
            row["ratio_to_spmm"] = median_ms / reference_ms
            row["peak_extra_mib"] = _peak_bytes(cases[backend][part]) / 2**20
            rows.append(row)
    return rows


def _cases(
    graph: LatticeGraph, backend: Backend, options: argparse.Namespace
) -> dict[str, Callable[[], list[Tensor]]]:
    """What is timed: each runs forward and backward, and returns result and gradients."""
    torch.manual_seed(0)
    experts = {"heads": options.heads}
    tree = {"state_channels": options.channels, "experts": experts, "aggregation": backend}
    settings = ModelSettings.model_validate(tree)
    lattice = Lattice3D(settings, graph)
    x_CNB = torch.randn(options.channels, graph.num_cells, options.batch, requires_grad=True)
    upstream_CNB = torch.randn_like(x_CNB)
    weights = [weight_EH.detach().requires_grad_() for weight_EH in lattice.edge_weights()]

    def neighbour_sum() -> list[Tensor]:
        total_CNB = torch.zeros_like(x_CNB)
        for expert, hood, weight_EH in zip(
            lattice.experts, lattice.neighbourhoods, weights, strict=True
        ):
            if hood.pattern is not None:
                part_CNB = sparse_neighbour_sum(x_CNB, weight_EH, hood.pattern)
            else:
                part_CNB = expert.propagate(hood.edge_index_2E, values=x_CNB, weight=weight_EH)
            total_CNB = total_CNB + part_CNB
        grads = torch.autograd.grad(total_CNB, [x_CNB, *weights], upstream_CNB)
        return [total_CNB.detach(), *grads]

    def step() -> list[Tensor]:
        new_CNB, _ = lattice.step(x_CNB)
        wanted = [x_CNB, *(p for e in lattice.experts for p in e.parameters())]
        return [new_CNB.detach(), *torch.autograd.grad(new_CNB, wanted, upstream_CNB)]

    return {"sum": neighbour_sum, "step": step}


def _check_same(cases: list[Callable[[], list[Tensor]]], name: str) -> None:
    """A fast wrong result is worth nothing."""
    first, *others = (case() for case in cases)
    for other in others:
        for a, b in zip(first, other, strict=True):
            difference = float((a - b).abs().max() / a.abs().max().clamp_min(1e-12))
            if difference > TOLERANCE:
                raise LatticeGraphError(
                    name,
                    f"expected equal results of all backends, got a difference of {difference:.1g}",
                    "Run the tests in tests/aggregation",
                )


def _median_ms(case: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        case()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def _peak_bytes(case: Callable[[], object]) -> int:
    """Most bytes that one run holds at once in torch's allocator, beyond what it found there."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        case()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="forward + backward")
    for column in ("size", "part", "backend"):
        table.add_column(column)
    for column in ("cells", "edges", "median ms", "/ spmm", "peak MiB"):
        table.add_column(column, justify="right")
    for row in rows:
        counts = (f"{row[key]:,}" for key in ("cells", "edges"))
        numbers = (row["median_ms"], row["ratio_to_spmm"], row["peak_extra_mib"])
        names = (row[key] for key in ("size", "part", "backend"))
        table.add_row(*names, *counts, *(f"{number:.2f}" for number in numbers))
    return table


if __name__ == "__main__":
    sys.exit(main())
