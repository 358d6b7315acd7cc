"""Neighbourhoods: the edges of one expert, and the interface of every backend.

Legend: C channels, N cells, B batch, M = N B columns, O offsets, H heads.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from latticegraph.aggregation.stencil import Stencil

Backend = Literal["spmm", "fft", "scatter", "conv3d"]
BACKENDS: tuple[Backend, ...] = ("spmm", "fft", "scatter")
"""Those that train; ``conv3d`` is for export."""
LARGEST_NORM = 2.0

PreparedWeights = tuple[Tensor, ...]
"""Edge weights prepared for the sums of one rollout; only the first tensor has a gradient."""


class Neighbourhood(ABC):
    """One edge set, handed to an expert at every step.

    Columns of a state are cells and samples. ``samples_inner`` tells their order: cell by cell with
    the samples of a cell side by side, (N, B), or sample by sample, (B, N).

    Args:
        edge_attr_O4: distance / max_radius in [0, 1] and unit direction of every distinct offset
            (or of every edge).
        num_cells: N.
        heads: H, weights per offset.
        neighbours: of a cell that has them all; None: as many as there are offsets.
    """

    samples_inner = True

    def __init__(
        self, edge_attr_O4: Tensor, num_cells: int, heads: int, neighbours: int | None = None
    ) -> None:
        self.edge_attr_O4 = edge_attr_O4
        self.num_cells = num_cells
        self.heads = heads
        self.neighbours = edge_attr_O4.shape[0] if neighbours is None else neighbours

    def scaled(self, weight_OH: Tensor) -> Tensor:
        """Weights scaled to a stable sum.

        Equation::

            w = a / max(1, n / 2),    n = max over cells i of sum over edges e into i of |a_e|

        per head, so that one sum over neighbours grows the largest value at most 2-fold (its
        operator norm in the maximum norm), however many neighbours a cell has.
        ``model.messages.bounded`` false leaves it out.

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
    def prepare(self, weight_OH: Tensor) -> PreparedWeights:
        """Weights in the form that the sums of one rollout use; the first tensor has a gradient."""

    @abstractmethod
    def sum(self, values_CM: Tensor, prepared: PreparedWeights) -> Tensor:
        """``m[c, i, b] = sum over edges e = (j -> i) of weight[e, c mod H] * values[c, j, b]``.

        Args:
            values_CM: one value per channel and column, in the order of ``samples_inner``.
            prepared: result of :meth:`prepare`.

        Shapes:
            values_CM (C, M) -> (C, M); H divides C.
        """

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move index and attribute tensors to ``device`` (in place); attributes to ``dtype``."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device, dtype if value.is_floating_point() else None))


class StencilNeighbourhood(Neighbourhood):
    """Neighbours at fixed offsets on a box, the cells of a sample side by side in row-major order.

    Args:
        stencil: the offsets.
        edge_attr_O4: their attributes.
        heads: H.
    """

    samples_inner = False

    def __init__(self, stencil: Stencil, edge_attr_O4: Tensor, heads: int) -> None:
        super().__init__(edge_attr_O4, math.prod(stencil.dimensions), heads)
        self.stencil = stencil

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move everything to ``device`` (in place)."""
        super().to(device, dtype)
        self.stencil.to(device)

    def largest_sum(self, size_OH: Tensor) -> Tensor:
        """As in :class:`Neighbourhood`."""
        return self.stencil.largest_sum(size_OH)


class FastNeighbourhood(Neighbourhood):
    """Aggregates without materialising a tensor of edges x batch x channels.

    Its sums and their gradient are two methods outside autograd, which :meth:`sum` and a lattice
    step with a hand-written gradient share.
    """

    def sum(self, values_CM: Tensor, prepared: PreparedWeights) -> Tensor:
        """As in :class:`Neighbourhood`, in the precision of ``prepared``."""
        # Neither sparse products nor transforms have a half-precision form.
        values_CM = values_CM.to(prepared[0].dtype).contiguous()
        with torch.autocast(values_CM.device.type, enabled=False):
            summed: Tensor = _Sum.apply(self, values_CM, *prepared)  # type: ignore[no-untyped-call]
        return summed

    @abstractmethod
    def run(
        self, values_CM: Tensor, prepared: PreparedWeights, keep: bool
    ) -> tuple[Tensor, Tensor]:
        """The sums, and what the gradient of the weights needs besides.

        Args:
            values_CM: as for :meth:`sum`, contiguous.
            prepared: as for :meth:`sum`.
            keep: the weights have a gradient; else the second is empty.
        """

    @abstractmethod
    def back(
        self, grad_CM: Tensor, prepared: PreparedWeights, kept: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Gradients of the values and of the first of ``prepared``; None where nothing was kept.

        Args:
            grad_CM: gradient of the sums, contiguous.
            prepared: as for :meth:`run`.
            kept: what :meth:`run` returned beside the sums.
        """


class _Sum(torch.autograd.Function):
    """The sums of a :class:`FastNeighbourhood` for autograd."""

    @staticmethod
    def forward(
        ctx: Any, neighbourhood: FastNeighbourhood, values_CM: Tensor, *prepared: Tensor
    ) -> Tensor:
        summed_CM, kept = neighbourhood.run(values_CM, prepared, ctx.needs_input_grad[2])
        ctx.neighbourhood = neighbourhood
        ctx.save_for_backward(kept, *prepared)
        return summed_CM

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        kept, *prepared = ctx.saved_tensors
        neighbourhood: FastNeighbourhood = ctx.neighbourhood
        both = neighbourhood.back(grads[0].contiguous(), tuple(prepared), kept)
        return None, *both, *[None] * (len(prepared) - 1)


class SelfNeighbourhood(Neighbourhood):
    """Every cell is its own and only neighbour, as in the local type of cubes below 50."""

    def largest_sum(self, size_OH: Tensor) -> Tensor:
        """The size of the self-edge."""
        return size_OH[0]

    def prepare(self, weight_OH: Tensor) -> PreparedWeights:
        """The weight of each head, (H,)."""
        return (weight_OH[0],)

    def sum(self, values_CM: Tensor, prepared: PreparedWeights) -> Tensor:
        """The values, weighted."""
        return values_CM * self.per_channel(prepared, values_CM.shape[0])[:, None]

    def per_channel(self, prepared: PreparedWeights, channels: int) -> Tensor:
        """Weight of each channel, (C,): what a linear map of the sum can take in."""
        return prepared[0].repeat(channels // self.heads)
