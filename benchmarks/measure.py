"""The run: for every cube and kind of work build the cases, compare them, time them, report.

Legend: B batch.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from cases import Case
from groups import BUILDERS, Group
from memory import is_out_of_memory, peak_bytes, too_large
from report import Report
from timing import FULL, QUICK, Others, interleaved, median_ms
from torch import Tensor

from latticegraph.errors import LatticeGraphError

TOLERANCE = 1e-4  # largest accepted difference between backends / largest value
QUICK_BATCH = 2
# Samples that a cube of this side or more is measured with.
BATCHES = ((37, 2), (27, 8), (15, 16), (2, 8))


def measure_all(options: argparse.Namespace) -> None:
    """Measure every cube and kind of work that ``options`` name, and write the files as rows come.

    Args:
        options: those of run.py.

    Raises:
        LatticeGraphError: for a cube without edges of some type, backends that disagree, a device
            or a file that is not there.
    """
    if options.device == "cuda" and not torch.cuda.is_available():
        raise LatticeGraphError(
            "--device", "expected a CUDA device, got none", "Choose --device cpu"
        )
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    # Every CSR product says that its layout is in beta.
    warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
    report = Report(options)
    for cube in options.cubes:
        for what in options.what:
            report.add(measure(cube, what, options))
    report.draw()


def measure(cube: int, what: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one cube and kind of work."""
    device = torch.device(options.device)
    default = next(batch for side, batch in BATCHES if cube >= side)
    batch = options.batch or (QUICK_BATCH if options.quick else default)
    group = BUILDERS[what](cube, batch, device, options.quick)
    cases, reasons = _built(group, options.max_gb)
    peaks: dict[str, float] = {}
    for case in _checked(cases, group, reasons):
        assert case.results is not None
        peaks[case.backend] = peak_bytes(case.both, device) / 1e6
    cases = [case for case in cases if case.backend not in reasons]
    others = Others()
    times = _times(cases, QUICK if options.quick else FULL, device)
    used = others.share()
    rows = [_row(group, name, times, peaks, reasons) for name in group.makers]
    floors = [row for row in rows if row["backend"] == "floor"]
    dense = times.get("floor_dense")
    for row in rows:
        row["others"] = used
    for row in floors:
        row["floor_dense_ms"] = dense and dense[1]
    if floors and floors[0]["forward_backward_ms"]:
        _compare_with_floor(rows, floors[0])
    return [row for row in rows if row["backend"] != "floor_dense"]


def _built(group: Group, max_gb: float) -> tuple[list[Case], dict[str, str]]:
    """The cases that fit, and why the others do not."""
    cases, reasons = [], {}
    for name, make in group.makers.items():
        reason = too_large(name, group.size, max_gb)
        if reason is None:
            try:
                cases.append(make())
                continue
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = "the allocator ran out of memory"
        reasons[name] = reason
    return cases, reasons


def _checked(cases: list[Case], group: Group, reasons: dict[str, str]) -> Iterable[Case]:
    """Cases whose results match the expected ones."""
    first: list[Tensor] | None = None
    for case in cases:
        if case.results is None:
            continue
        try:
            got = case.results()
            expected = case.expected() if case.expected else first
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reasons[case.backend] = "the allocator ran out of memory"
            continue
        if expected is not None:
            check_same(got, expected, f"{group.what} {group.cube} {case.backend}")
        if first is None and case.expected is None:
            first = got
        yield case


def check_same(got: list[Tensor], expected: list[Tensor], name: str) -> None:
    """Compare outputs and gradients.

    Raises:
        LatticeGraphError: where one differs by more than the tolerance of its largest value.
    """
    for index, (a, b) in enumerate(zip(got, expected, strict=True)):
        difference = float((a - b).abs().max() / b.abs().max().clamp_min(1e-12))
        if not difference <= TOLERANCE:  # also where it is no number
            raise LatticeGraphError(
                name,
                f"expected equal results of all backends, got a difference of {difference:.1g} "
                f"in tensor {index} (0 is the output, the others are gradients)",
                "Run the tests in tests/aggregation and tests/model",
            )


def _times(cases: list[Case], effort: Any, device: torch.device) -> dict[str, tuple[float, float]]:
    """Forward, and forward and backward, of every case; all of them in turn."""
    timed: dict[str, Callable[[], object]] = {}
    for case in cases:
        timed[f"{case.backend}/forward"] = torch.no_grad()(case.forward)
        timed[f"{case.backend}/both"] = case.both
    all_times = interleaved(timed, effort, device)
    medians = {name: median_ms(times) for name, times in all_times.items()}
    return {
        case.backend: (medians[f"{case.backend}/forward"], medians[f"{case.backend}/both"])
        for case in cases
    }


def _row(
    group: Group,
    name: str,
    times: dict[str, tuple[float, float]],
    peaks: dict[str, float],
    reasons: dict[str, str],
) -> dict[str, Any]:
    size = group.size
    forward, both = times.get(name, (None, None))
    return {
        "cube": group.cube,
        "cells": size.cells,
        "edges": size.edges,
        "batch": size.batch,
        "channels": size.channels,
        "heads": size.heads,
        "steps": max(1, size.steps),
        "what": group.what,
        "backend": name,
        "forward_ms": forward,
        "forward_backward_ms": both,
        "ns_per_cell": both and 1e6 * both / (size.cells * size.batch * max(1, size.steps)),
        "peak_mb": peaks.get(name),
        "over_floor": None,
        "oom": name in reasons,
        "reason": reasons.get(name),
    }


def _compare_with_floor(rows: list[dict[str, Any]], floor: dict[str, Any]) -> None:
    """Sparse sums are part of the floor of those backends that have them."""
    for row in rows:
        sparse = row["backend"].startswith("spmm")
        whole, dense = floor["forward_backward_ms"], floor["floor_dense_ms"]
        base = dense if dense and not sparse else whole
        if row is not floor and row["forward_backward_ms"]:
            row["over_floor"] = row["forward_backward_ms"] / base
