"""What happens inside the cube, measured on a few validation samples.

Legend: C channels, N cells, B batch, b samples of a chunk, X experts, T steps, D teacher width, K
layers along the depth axis, L layers shown, P, Q cells across.
"""

from __future__ import annotations

import math
import string
from typing import Any

import torch
from torch import Tensor

from latticegraph.dynamics import Recorder, StepRecord
from latticegraph.hub import autocast
from latticegraph.lattice import LatticeGraph
from latticegraph.losses.emergence import entropy
from latticegraph.model import Student

UNUSED_SHARE = 0.02
# Columns, cells times samples, of the rollout that is looked at: large cubes take fewer samples.
MOST_COLUMNS = 2**18
MOST_LAYERS, MOST_ACROSS = 8, 24
SYMBOLS = string.digits + string.ascii_letters
LEVELS = 10


class CubeSums(Recorder):
    """Adds up states and gates over the samples of a rollout; keeps none of them."""

    def __init__(self) -> None:
        self.samples: list[int] = []
        self.first_norm: Tensor | float = 0.0
        self.norm: list[Tensor] = []
        self.change: list[Tensor] = []
        self.entropy: list[Tensor] = []
        self.usage_XN: list[Tensor] = []

    def record(self, record: StepRecord) -> None:
        """Add one step of a chunk of samples."""
        before, after = record.before_CNb, record.after_CNb
        gates_XNb = record.gates_XNb.double()
        tiny = torch.finfo(torch.float64).tiny
        size_b, moved_b = _norm(before), _norm(after - before)
        found = (
            _norm(after).sum(),
            (moved_b / size_b.clamp_min(tiny)).sum(),
            entropy(gates_XNb.movedim(0, -1)).mean(0).sum(),
            gates_XNb.sum(2),
        )
        if record.step == 1:
            self.first_norm = self.first_norm + size_b.sum()
        sums = (self.norm, self.change, self.entropy, self.usage_XN)
        if record.step > len(self.samples):
            self.samples.append(0)
            for values in sums:
                values.append(torch.zeros((), dtype=torch.float64))
        place = record.step - 1
        self.samples[place] += after.shape[2]
        for values, value in zip(sums, found, strict=True):
            values[place] = values[place].to(value.device) + value


def _norm(x_CNb: Tensor) -> Tensor:
    """Root mean square over channels and cells of every sample. Shapes: (C, N, b) -> (b,)."""
    size_b: Tensor = torch.linalg.vector_norm(x_CNb, dim=(0, 1), dtype=torch.float64)
    return size_b / math.sqrt(x_CNb.shape[0] * x_CNb.shape[1])


class CubeMonitor:
    """Runs a few validation samples through the whole cube and says how it behaves.

    A rollout of training may compute the light cone alone; this one computes every cell. It draws
    no random number and changes nothing.

    Args:
        graph: where the cells are.
        source_ND: embeddings to look at, the first ``samples`` of them.
        samples: at most; of a lattice with more than ``MOST_COLUMNS / samples`` cells fewer. 0:
            nothing is measured.
        precision: of matrix products, as ``training.precision``.

    Shapes:
        source_ND: [N, D].
    """

    def __init__(
        self, graph: LatticeGraph, source_ND: Tensor, samples: int, precision: str = "float32"
    ) -> None:
        count = min(samples, max(1, MOST_COLUMNS // graph.num_cells))
        self.graph = graph
        self.source_BD = source_ND[:count]
        self.precision = precision

    @torch.no_grad()
    def measure(self, student: Student) -> dict[str, Any]:
        """A record without its head; empty without experts, samples or a whole lattice.

        ``state_norm`` is the root mean square of a state before the first and after every step, and
        ``change`` its relative change in every step, both means over samples. ``step_usage`` is the
        mean gate of every expert in each step, ``depth_usage`` in each layer from the front to the
        back. ``gate_entropy`` is the entropy of a single gate in every step, from 0 (one expert) to
        1 (all alike), ``unused_cells`` the share of cells whose mean gate of an expert is below
        :data:`UNUSED_SHARE`, and ``cells`` a map (see :func:`cell_map`).

        Args:
            student: left in evaluation mode.
        """
        dynamics = student.dynamics
        if not (len(self.source_BD) and len(dynamics.experts) and dynamics.cells.is_whole):
            return {}
        student.eval()
        sums, device = CubeSums(), student.std.device
        with autocast(device, self.precision):
            student(self.source_BD.to(device, student.std.dtype), recorder=sums)
        return _record(sums, dynamics.names, self.graph)


def _record(sums: CubeSums, names: tuple[str, ...], graph: LatticeGraph) -> dict[str, Any]:
    usage_TXN = torch.stack(sums.usage_XN).cpu()
    count_T = torch.tensor(sums.samples, dtype=torch.float64)
    usage_XN = usage_TXN.sum(0) / count_T.sum()
    step_XT = (usage_TXN.mean(2) / count_T[:, None]).T
    layers = int(graph.depth_N.max()) + 1
    sum_XK = torch.zeros(len(names), layers, dtype=torch.float64)
    sum_XK.index_add_(1, graph.depth_N, usage_XN)
    depth_XK = sum_XK / torch.bincount(graph.depth_N, minlength=layers)
    per_step = {
        key: (torch.stack(values).cpu() / count_T)
        for key, values in (
            ("norm", sums.norm),
            ("change", sums.change),
            ("gate_entropy", sums.entropy),
        )
    }
    first = torch.as_tensor(sums.first_norm).cpu() / sums.samples[0]
    unused_X = (usage_XN < UNUSED_SHARE).double().mean(1)
    return {
        "samples": sums.samples[0],
        "state_norm": _short(torch.cat([first[None], per_step["norm"]])),
        "change": _short(per_step["change"]),
        "gate_entropy": _short(per_step["gate_entropy"]),
        "step_usage": {n: _short(row) for n, row in zip(names, step_XT, strict=True)},
        "depth_usage": {n: _short(row) for n, row in zip(names, depth_XK, strict=True)},
        "unused_cells": dict(zip(names, _short(unused_X), strict=True)),
        "cells": cell_map(usage_XN, graph),
    }


def cell_map(usage_XN: Tensor, graph: LatticeGraph) -> dict[str, Any]:
    """The dominant expert of cells as text: short enough for a line of a log.

    Of at most :data:`MOST_LAYERS` layers along the depth axis and :data:`MOST_ACROSS` cells across
    it, evenly spaced, ``experts`` names by one character per cell the expert with the largest gate
    (its place in :data:`SYMBOLS`), and ``shares`` by one digit how far that gate lies between equal
    shares (0) and all (9). A string is a layer, row by row; ``layers``, ``rows`` and ``columns``
    name the coordinates.

    Args:
        usage_XN: mean gate of every expert and cell; experts beyond the number of symbols count
            as the last symbol.
        graph: where the cells are.

    Shapes:
        usage_XN: [X, N].
    """
    axis, dimensions = graph.settings.axis, graph.settings.dimensions
    across = [other for other in range(3) if other != axis]
    layers = _places(dimensions[axis], MOST_LAYERS)
    rows, columns = (_places(dimensions[other], MOST_ACROSS) for other in across)
    grid_XKPQ = usage_XN.new_zeros(len(usage_XN), *dimensions)
    grid_XKPQ[:, *graph.coordinates_N3.T] = usage_XN
    grid_XKPQ = grid_XKPQ.permute(0, axis + 1, *(other + 1 for other in across))
    shown_XLPQ = grid_XKPQ[:, layers][:, :, rows][:, :, :, columns]
    share_LPQ, expert_LPQ = shown_XLPQ.max(0)
    even = 1 / len(usage_XN)
    level_LPQ = ((share_LPQ - even) / max(1 - even, 1e-9) * LEVELS).long().clamp(0, LEVELS - 1)
    last = len(SYMBOLS) - 1
    return {
        "layers": layers,
        "rows": rows,
        "columns": columns,
        "experts": [
            "".join(SYMBOLS[min(int(index), last)] for index in layer.ravel())
            for layer in expert_LPQ
        ],
        "shares": ["".join(str(int(one)) for one in layer.ravel()) for layer in level_LPQ],
    }


def _places(length: int, most: int) -> list[int]:
    """At most ``most`` evenly spaced places of ``length``, both ends among them."""
    places: list[int] = torch.linspace(0, length - 1, min(length, most)).round().int().tolist()
    return places


def _short(values: Tensor) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]
