"""The cells of one step of a light cone, and the columns that hold their states.

Legend: C channels, N cells, B batch; n varying and k constant sources, a varying and l constant
targets, M = n B + k or a B + l columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from latticegraph.aggregation.cells import Cells
from latticegraph.aggregation.layout import map_cells
from latticegraph.aggregation.neighbourhood import PreparedWeights


@dataclass
class ConeCells:
    """The cells whose states are kept between two steps.

    Attributes:
        varying_n: cells that the input has reached: their states differ between samples.
        constant_k: cells that it has not reached: one state for all samples.
    """

    varying_n: Tensor
    constant_k: Tensor

    def columns(self, x_CNB: Tensor) -> Tensor:
        """States of the varying cells, cell by cell, and behind them one of each constant cell.

        Shapes:
            (C, N, B) -> (C, n B + k)
        """
        varying = x_CNB.index_select(1, self.varying_n).flatten(1)
        return torch.cat([varying, x_CNB[:, :, 0].index_select(1, self.constant_k)], dim=1)

    def split(self, x_CM: Tensor) -> tuple[Tensor, Tensor]:
        """Views of both kinds of columns, (C, n, B) and (C, k)."""
        count, constant = len(self.varying_n), len(self.constant_k)
        end = x_CM.shape[1] - constant
        # Without a slice where it would be everything: its gradient would fill and copy a state.
        varying_CM = x_CM[:, :end] if constant else x_CM
        return varying_CM.unflatten(1, (count, end // max(count, 1))), x_CM[:, end:]


class Pick:
    """Some rows of the second axis: a view where they lie side by side, else a copy.

    Args:
        rows_n: their numbers.
    """

    def __init__(self, rows_n: Tensor) -> None:
        self.count = len(rows_n)
        self.rows_n = rows_n
        self.start = int(rows_n[0]) if self.count else 0
        self.side_by_side = torch.equal(rows_n, torch.arange(self.count) + self.start)

    def __call__(self, value: Tensor) -> Tensor:
        """The chosen rows."""
        if self.side_by_side:
            return value.narrow(1, self.start, self.count)
        return value.index_select(1, self.rows_n)


class Sums(Protocol):
    """All that a step asks of the edges of an expert."""

    def sum(self, values_CM: Tensor, prepared: PreparedWeights) -> Tensor:
        """As in :class:`~latticegraph.aggregation.Neighbourhood`."""


class ConeStep:
    """What one step aggregates: the form of :class:`Aggregation` that the step of the lattice uses.

    Args:
        before: cells whose states enter.
        after: cells whose states leave.
        cells: of the whole lattice, which one process holds.

    Attributes:
        neighbourhoods: of every expert; set once the step is made.
        layout: this object itself, whose :meth:`per_sample` shows the varying cells.
    """

    cell_axis = -2

    def __init__(self, before: ConeCells, after: ConeCells, cells: Cells) -> None:
        self.before, self.after, self.cells = before, after, cells
        self.neighbourhoods: Sequence[Sums] = ()
        self.layout = self
        place_N = _places(before)
        reached = len(before.varying_n)
        own_a = place_N[after.varying_n]
        self.was_varying = Pick(own_a[own_a < reached])
        self.was_constant = Pick(own_a[own_a >= reached] - reached)
        self.still_constant = Pick(place_N[after.constant_k] - reached)

    def own(self, x_CM: Tensor) -> Tensor:
        """The columns of the target cells among those of the sources."""
        varying, constant = self.before.split(x_CM)
        batch = varying.shape[2]
        parts = [self.was_varying(varying)]
        if self.was_constant.count:
            reached = self.was_constant(constant)
            parts.append(reached[:, :, None].expand(-1, -1, batch))
        return join([part.flatten(1) for part in parts] + [self.still_constant(constant)])

    def map_cells(self, weight_NKC: Tensor, bias_NK: Tensor, x_CM: Tensor) -> Tensor:
        """As in :class:`CellMaps`, for the target cells."""
        varying, constant = self.after.split(x_CM)
        groups = ((self.after.varying_n, varying), (self.after.constant_k, constant[..., None]))
        mapped = [
            map_cells(weight_NKC.index_select(0, cells), bias_NK.index_select(0, cells), x)
            for cells, x in groups
            if len(cells)
        ]
        return join([y.flatten(1) for y in mapped])

    def per_sample(self, value_CM: Tensor) -> Tensor:
        """Values of the varying target cells, (C, a, B)."""
        return self.after.split(value_CM)[0]


def join(parts: Sequence[Tensor]) -> Tensor:
    """Matrices side by side; those without columns are left out, and a single one is not copied."""
    filled = [part for part in parts if part.shape[1]]
    return torch.cat(filled, dim=1) if len(filled) > 1 else filled[0]


def _places(cells: ConeCells) -> Tensor:
    """Place of every cell among the varying and then the constant ones."""
    both = torch.cat([cells.varying_n, cells.constant_k])
    place_N = torch.full((int(both.max()) + 1,), -1)
    place_N[both] = torch.arange(len(both))
    return place_N
