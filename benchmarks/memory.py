"""Memory of a case: estimated before it runs, measured while it runs.

Legend: C channels, N cells, B batch, E edges, H heads, T steps.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

MOST_EDGES = 20_000_000
FLOAT = 4
# Tensors of one number per edge, channel and sample: gathered, weighed, and what backward keeps.
EDGE_COPIES = 6
# Bytes per edge: both orders of the edges and their sorting, and per head columns, entries and
# gradients of the matrix and of its transpose.
EDGE_BYTES, ENTRY_BYTES = 80, 24
# State-sized tensors of a sum (spectra of padded boxes among them), and of a step.
SUM_STATES, STEP_STATES = 16, 40


@dataclass(frozen=True)
class Size:
    """What memory depends on.

    Attributes:
        cells: N.
        edges: E of all types.
        batch: B.
        channels: C.
        heads: H.
        steps: T that one call takes; 0 for a sum alone.
    """

    cells: int
    edges: int
    batch: int
    channels: int
    heads: int
    steps: int = 0


def too_large(backend: str, size: Size, max_gb: float) -> str | None:
    """Why a case must not be built, or None where it may.

    Args:
        backend: name of the case.
        size: of the case.
        max_gb: most memory it may take, in 10^9 bytes.
    """
    edges = size.edges * size.batch if backend == "rgcn" else size.edges
    if backend.removesuffix("+compile") not in ("fft", "conv3d", "floor") and edges > MOST_EDGES:
        return f"{edges:,} edges, more than {MOST_EDGES:,}"
    needed_gb = estimate_bytes(backend, size) / 1e9
    if needed_gb > max_gb:
        return f"about {needed_gb:.3g} GB, more than --max-gb {max_gb:g}"
    return None


def estimate_bytes(backend: str, size: Size) -> int:
    """About the most that a case holds at once."""
    state = size.channels * size.cells * size.batch * FLOAT
    total = state * (STEP_STATES * size.steps or SUM_STATES)
    if backend.startswith("spmm"):
        total += size.edges * (EDGE_BYTES + size.heads * ENTRY_BYTES)
    if backend.startswith(("scatter", "pyg_edge", "rgcn")):
        total += EDGE_COPIES * size.edges * size.batch * size.channels * FLOAT
    return total


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocator ran out of memory."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def peak_bytes(case: Callable[[], object], device: torch.device) -> int:
    """Most bytes that one run holds at once in torch's allocator, beyond what it found there."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        found = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        case()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated()) - found
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
