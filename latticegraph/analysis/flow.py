"""How the input spreads: its influence on every cell and step, and dependence at a lag.

Legend: S samples, N cells, C channels, T steps, F surface width, D and E widths, L lags,
P permutations.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from latticegraph.analysis.mutual_information import components, gaussian_information
from latticegraph.dynamics import TrajectoryRecorder
from latticegraph.evaluation.arrays import Floats
from latticegraph.hub import LatticeModel
from latticegraph.lattice import LatticeGraph

DIRECTIONS = 4
COMPONENTS = 4
_STEP_SIZE = 1e-5


def influence(
    model: LatticeModel, source_SD: Floats, directions: int = DIRECTIONS, seed: int = 0
) -> Floats:
    r"""How strongly the input moves every cell after every step.

    .. math:: J_{tn} = \Big(\mathbb{E}_{s,v} \big\| \tfrac{\partial x_{tns}}{\partial z_s} v
        \big\|^2\Big)^{1/2}, \quad v \sim N(0, 1)

    which is the Frobenius norm of the Jacobian of the cell's state by the numbers z that enter the
    lattice, averaged over samples (Hutchinson, 1990). Derivatives are central differences in double
    precision, exact to about nine digits. At least 0, in units of the state per unit of z. Cells
    outside the light cone have exactly 0 with sums over edges, and rounding with transforms. It is
    local: large influence of a direction that texts never take counts as much as any other.

    Args:
        model: with a lattice.
        source_SD: teacher embeddings, few.
        directions: v per sample; the error falls with the root of samples times directions.
        seed: of v.

    Shapes:
        source_SD: [S, D]; result: [T + 1, N].
    """
    student = copy.deepcopy(model.student).double().eval()
    device = student.std.device
    random = torch.Generator().manual_seed(seed)
    total_TN: NDArray[np.float64] | float = 0.0
    with torch.no_grad():
        code_SF = student.encode(torch.from_numpy(source_SD).to(device, torch.float64))
        for _ in range(directions):
            v_SF = torch.randn(code_SF.shape, generator=random, dtype=torch.float64).to(device)
            ends = []
            for sign in (1, -1):
                recorder = TrajectoryRecorder()
                student.decode(code_SF + sign * _STEP_SIZE * v_SF, recorder)
                ends.append(recorder.trajectory_TCNB)
            slope_TCNB = (ends[0] - ends[1]) / (2 * _STEP_SIZE)
            total_TN = total_TN + slope_TCNB.square().sum(dim=1).mean(dim=2).cpu().numpy()
    influence_TN: Floats = np.sqrt(np.asarray(total_TN) / directions)
    return influence_TN


def light_cone(graph: LatticeGraph, steps: int) -> NDArray[np.bool_]:
    """Whether the input can have reached a cell after a step, by the edges alone.

    Args:
        graph: the lattice.
        steps: T.

    Shapes:
        result: [T + 1, N].
    """
    sides = graph.settings.dimensions
    number = graph.number_N.numpy()
    reached = np.zeros(graph.num_cells, dtype=np.bool_)
    reached[graph.input_cells.numpy()] = True
    grid = reached[number].reshape(sides)
    grids = [grid]
    wraps = graph.settings.boundary == "periodic"
    for _ in range(steps):
        spread = grid.copy()
        for offset in graph.offsets_O3.tolist():
            spread |= _shifted(grid, offset, wraps)
        grid = spread
        grids.append(grid)
    cone_TN = np.zeros((steps + 1, graph.num_cells), dtype=np.bool_)
    cone_TN[:, number] = np.stack([grid.ravel() for grid in grids])
    return cone_TN


def lagged_information(
    first: Sequence[NDArray[np.floating]],
    second: Sequence[NDArray[np.floating]],
    lags: Sequence[int],
    *,
    permutations: int = 19,
    count: int = COMPONENTS,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    r"""Dependence of one layer on another some steps earlier, in bits.

    .. math:: I_\ell = \operatorname{mean}_t\; I\big(x_t ; y_{t+\ell}\big)

    the Gaussian mutual information of the first principal components, averaged over the steps t
    for which both exist. A peak at a lag says when the second layer resembles the first most; both
    may be driven by a third, and linear dependence alone is seen. Steps at which a layer does not
    vary count as 0. Null: the samples of the second layer are permuted, which leaves the bias.

    Args:
        first: states of one layer after every step.
        second: of the other.
        lags: in steps, each at least 0.
        permutations: P.
        count: principal components of each layer.
        seed: of the permutations.

    Shapes:
        first: T arrays [S, D]; second: T arrays [S, E]; results: [L] and [P, L].
    """
    x_T = [_components(value, count) for value in first]
    y_T = [_components(value, count) for value in second]
    random = np.random.default_rng(seed)
    orders = [None, *(random.permutation(len(first[0])) for _ in range(permutations))]
    rows = []
    for order in orders:
        row = []
        for lag in lags:
            pairs = zip(x_T[: len(x_T) - lag], y_T[lag:], strict=True)
            row.append(np.mean([_information(x, y, order) for x, y in pairs]))
        rows.append(row)
    found = np.array(rows)
    return found[0], found[1:]


def _components(value: NDArray[np.floating], count: int) -> Floats | None:
    return components(value, count) if np.ptp(value, axis=0).max() > 0 else None


def _information(x: Floats | None, y: Floats | None, order: NDArray[np.int64] | None) -> float:
    if x is None or y is None:
        return 0.0
    return gaussian_information(x, y if order is None else y[order])


def _shifted(grid: NDArray[np.bool_], offset: Sequence[int], wraps: bool) -> NDArray[np.bool_]:
    """The grid as seen by every cell at an offset: source minus target."""
    moved = np.roll(grid, [-step for step in offset], axis=(0, 1, 2))
    if not wraps:
        for axis, step in enumerate(offset):
            part: list[slice] = [slice(None)] * 3
            if step:
                part[axis] = slice(-step, None) if step > 0 else slice(None, -step)
                moved[tuple(part)] = False
    return moved
