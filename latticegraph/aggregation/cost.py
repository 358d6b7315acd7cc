"""Cost model of the sums over neighbours, by which ``auto`` chooses a backend.

Legend: C channels, B batch, columns = B C per cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from latticegraph.aggregation.neighbourhood import Backend
from latticegraph.aggregation.stencil import Stencil
from latticegraph.aggregation.transforms import padded_sides


@dataclass(frozen=True)
class Rates:
    """Nanoseconds, forward and backward with the gradient of the weights.

    Attributes:
        edge: of a sparse product, per edge and column.
        row: of a sparse product, per edge and channel, however few samples there are.
        point: of a convolution, per padded cell and column.
        start: of a convolution, however small, beyond that of a sparse product.
    """

    edge: float
    row: float
    point: float
    start: float


# Measured on two CPU cores: cubes from 6 to 18 cells a side, batches from 1 to 64; the choice was
# the faster one, or took 4% longer. On a GPU only the ratios count; they follow from the bytes that
# each way moves and were not measured.
OTHER_NS = 37.0
RATES = {"cpu": Rates(0.1, 1.8, 8.0, 3e5), "cuda": Rates(0.0038, 0.02, 0.030, 0.0)}


def expected_ms(
    backend: Backend, stencils: Sequence[Stencil], channels: int, batch: int, device: str = "cpu"
) -> float:
    """Milliseconds of the sums of one step, forward and backward.

    Equation::

        spmm  E (edge C B + row C)
        fft   P point C B + start    P: cells of the padded box, about 1.7 times the cells

    The first grows with the number of edges, the second does not.

    Args:
        backend: ``spmm`` or ``fft``.
        stencils: of the experts.
        channels: C.
        batch: B.
        device: ``cpu`` or ``cuda``.
    """
    rates = RATES[device]
    if backend == "spmm":
        edges = sum(stencil.num_edges for stencil in stencils)
        return edges * channels * (rates.edge * batch + rates.row) / 1e6
    points = sum(math.prod(padded_sides(s.dimensions, s.reach, s.periodic)[0]) for s in stencils)
    return (points * rates.point * channels * batch + len(stencils) * rates.start) / 1e6


def expected_update_ms(
    sums_ms: float, num_cells: int, channels: int, batch: int, steps: int
) -> float:
    """Milliseconds of one forward and backward pass on two CPU cores; projections come on top.

    Equation::

        T (sums + other N C B)        other: all that a step does besides, per number of the state

    Args:
        sums_ms: of one step, as from :func:`expected_ms`.
        num_cells: N.
        channels: C.
        batch: B.
        steps: T.
    """
    return steps * (sums_ms + OTHER_NS * num_cells * channels * batch / 1e6)


def cheapest(
    stencils: Sequence[Stencil], channels: int, batch: int, device: str = "cpu"
) -> Backend:
    """The backend with the smaller :func:`expected_ms`; both give the same sums.

    >>> import torch
    >>> small = Stencil(torch.tensor([[0, 0, 1], [0, 0, -1]]), (8, 8, 8), periodic=False)
    >>> cheapest([small], channels=16, batch=64)
    'spmm'
    """
    ways: tuple[Backend, Backend] = ("spmm", "fft")
    return min(ways, key=lambda way: expected_ms(way, stencils, channels, batch, device))
