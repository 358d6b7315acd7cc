"""Random stencils on small boxes, their edges by brute force, and a choice of transform."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from latticegraph.aggregation import (
    ConvolutionNeighbourhood,
    EdgeNeighbourhood,
    GridNeighbourhood,
    Neighbourhood,
    SparseNeighbourhood,
    Stencil,
    transforms,
)

HEADS = [(1, 1), (4, 1), (4, 2), (6, 3), (3, 3)]
"""Channels and heads."""


@dataclass(frozen=True)
class Case:
    """A stencil on a box, and what goes over it.

    Attributes:
        stencil: offsets, in random order; not symmetric.
        edge_index_2E: its edges, source and target, cells in row-major order.
        offset_E: the offset of every edge.
        channels: C.
        heads: H.
        batch: B.
    """

    stencil: Stencil
    edge_index_2E: Tensor
    offset_E: Tensor
    channels: int
    heads: int
    batch: int

    @property
    def num_cells(self) -> int:
        x, y, z = self.stencil.dimensions
        return x * y * z

    def random(self, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Values (C, N, B), weights (O, H) and a gradient (C, N, B), in double precision."""
        generator = torch.Generator().manual_seed(seed)
        state = (self.channels, self.num_cells, self.batch)
        shapes = (state, (len(self.stencil.offsets_O3), self.heads), state)
        values, weight, grad = (
            torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes
        )
        return values, weight, grad

    def neighbourhood(self, backend: str) -> Neighbourhood:
        """The neighbourhood for one backend."""
        attr_O4 = torch.zeros(len(self.stencil.offsets_O3), 4)
        if backend == "fft":
            return GridNeighbourhood(self.stencil, attr_O4, self.heads)
        if backend == "conv3d":
            return ConvolutionNeighbourhood(self.stencil, attr_O4, self.heads)
        edges = EdgeNeighbourhood(
            self.edge_index_2E, attr_O4, self.num_cells, self.heads, self.offset_E
        )
        return SparseNeighbourhood(edges) if backend == "spmm" else edges


def columns(x_CNB: Tensor, neighbourhood: Neighbourhood) -> Tensor:
    """States as (C, M) in the order of the neighbourhood."""
    return (x_CNB if neighbourhood.samples_inner else x_CNB.transpose(1, 2)).flatten(1)


def states(x_CM: Tensor, neighbourhood: Neighbourhood) -> Tensor:
    """Columns as (C, N, B)."""
    if neighbourhood.samples_inner:
        return x_CM.unflatten(1, (neighbourhood.num_cells, -1))
    return x_CM.unflatten(1, (-1, neighbourhood.num_cells)).transpose(1, 2)


def brute_force(stencil: Stencil) -> tuple[Tensor, Tensor]:
    """Edges of a stencil and their offsets, from a loop over cells and offsets."""
    sides = stencil.dimensions
    number = {c: n for n, c in enumerate(itertools.product(*(range(s) for s in sides)))}
    edges, used = [], []
    for cell, target in number.items():
        for o, offset in enumerate(stencil.offsets_O3.tolist()):
            place = tuple(c + d for c, d in zip(cell, offset, strict=True))
            if stencil.periodic:
                place = tuple(p % s for p, s in zip(place, sides, strict=True))
            if place in number:
                edges.append((number[place], target))
                used.append(o)
    index = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).t().contiguous()
    return index, torch.tensor(used, dtype=torch.int64)


def make_case(
    sides: tuple[int, int, int],
    periodic: bool,
    offsets: list[tuple[int, int, int]],
    channels_and_heads: tuple[int, int] = (4, 2),
    batch: int = 2,
) -> Case:
    stencil = Stencil(torch.tensor(offsets), sides, periodic)
    return Case(stencil, *brute_force(stencil), *channels_and_heads, batch)


@st.composite
def cases(draw: st.DrawFn, longest: int = 6, most_cells: int = 90) -> Case:
    """Boxes of unlike sides, thin ones too, with a few offsets; periodic ones hold each once."""
    side = st.integers(1, longest)
    sides = draw(st.tuples(side, side, side).filter(lambda s: s[0] * s[1] * s[2] <= most_cells))
    periodic = draw(st.booleans())
    axes = []
    for n in sides:
        low, high = ((n - 1) // 2, n // 2) if periodic else (n - 1, n - 1)
        reach = draw(st.integers(0, 4))
        axes.append(st.integers(-min(low, reach), min(high, reach)))
    offsets = draw(st.lists(st.tuples(*axes), min_size=1, max_size=12, unique=True))
    heads, batch = draw(st.sampled_from(HEADS)), draw(st.integers(1, 3))
    return make_case(sides, periodic, offsets, heads, batch)


@contextmanager
def transform_of(kind: str) -> Iterator[None]:
    """Every transform made inside is a product with matrices ("matrix") or an FFT ("fast")."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transforms, "LONGEST_MATRIX", 0 if kind == "fast" else 10**6)
        transforms.make_transform.cache_clear()
        try:
            yield
        finally:
            transforms.make_transform.cache_clear()
