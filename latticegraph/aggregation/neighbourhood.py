"""The edges of one expert: what every way to sum over neighbours has in common.

Legend: C channels, N cells, B batch, M = N B columns, O offsets, H heads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

Backend = Literal["spmm", "fft", "scatter"]
BACKENDS: tuple[Backend, ...] = ("spmm", "fft", "scatter")
LARGEST_NORM = 2.0

Sums = tuple[Tensor, ...]
"""What the sums of one rollout share; only the first has a gradient."""


class Neighbourhood(ABC):
    """One edge set, handed to an expert at every step.

    Columns of a state are cells and samples. ``samples_inner`` tells their order: cell by cell with
    the samples of a cell side by side, (N, B), or sample by sample, (B, N).

    Args:
        edge_attr_O4: distance / max_radius in [0, 1] and unit direction of every distinct offset
            (or of every edge).
        num_cells: N.
        heads: H, weights per offset.
    """

    samples_inner = True

    def __init__(self, edge_attr_O4: Tensor, num_cells: int, heads: int) -> None:
        self.edge_attr_O4 = edge_attr_O4
        self.num_cells = num_cells
        self.heads = heads

    def scaled(self, weight_OH: Tensor) -> Tensor:
        """Weights scaled to a stable sum.

        Equation::

            w = a / max(1, n / 2),    n = max over cells i of sum over edges e into i of |a_e|

        per head, so that one sum over neighbours grows the largest value at most 2-fold (its
        operator norm in the maximum norm), however many neighbours a cell has.

        Shapes:
            (O, H) -> (O, H)
        """
        if not weight_OH.numel():
            return weight_OH
        norm_H = self.largest_sum(weight_OH.abs())
        return weight_OH / (norm_H / LARGEST_NORM).clamp_min(1.0)

    @abstractmethod
    def largest_sum(self, size_OH: Tensor) -> Tensor:
        """Largest sum of sizes (none negative) over the edges into one cell, (H,)."""

    @abstractmethod
    def prepare(self, weight_OH: Tensor) -> Sums:
        """What the sums of one rollout share; the first is differentiable in the scaled weights."""

    @abstractmethod
    def sum(self, values_CM: Tensor, prepared: Sums) -> Tensor:
        """``m[c, i, b] = sum over edges e = (j -> i) of weight[e, c mod H] * values[c, j, b]``.

        Args:
            values_CM: one value per channel and column, in the order of ``samples_inner``.
            prepared: result of :meth:`prepare`.

        Shapes:
            values_CM (C, M) -> (C, M); H divides C.
        """

    def run(self, values_CM: Tensor, prepared: Sums, keep: bool) -> tuple[Tensor, Tensor]:
        """:meth:`sum` outside autograd, and what :meth:`back` needs of it.

        Args:
            values_CM: as for :meth:`sum`.
            prepared: as for :meth:`sum`.
            keep: a backward pass follows.
        """
        raise NotImplementedError(f"{type(self).__name__} has no gradient of its own")

    def back(self, grad_CM: Tensor, prepared: Sums, kept: Tensor, out_CM: Tensor) -> Tensor:
        """Gradient of the values, written to ``out_CM``; that of the first of ``prepared``.

        Args:
            grad_CM: gradient of the sums.
            prepared: as for :meth:`run`.
            kept: what :meth:`run` returned beside the sums.
            out_CM: as large as the values.
        """
        raise NotImplementedError(f"{type(self).__name__} has no gradient of its own")

    @property
    def neighbours(self) -> int:
        """Neighbours of a cell that has them all."""
        return self.edge_attr_O4.shape[0]

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move index and attribute tensors to ``device`` (in place); attributes to ``dtype``."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device, dtype if value.is_floating_point() else None))


class SelfNeighbourhood(Neighbourhood):
    """Every cell is its own and only neighbour, as in the local type of cubes below 50."""

    def largest_sum(self, size_OH: Tensor) -> Tensor:
        """The one size there is."""
        return size_OH[0]

    def prepare(self, weight_OH: Tensor) -> Sums:
        """The weight of each head, (H,)."""
        return (weight_OH[0],)

    def sum(self, values_CM: Tensor, prepared: Sums) -> Tensor:
        """The values, weighted."""
        return values_CM * self.per_channel(prepared, values_CM.shape[0])[:, None]

    def per_channel(self, prepared: Sums, channels: int) -> Tensor:
        """Weight of each channel, (C,): what a linear map of the sum can take in."""
        return prepared[0].repeat(channels // self.heads)
