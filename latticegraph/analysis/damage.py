"""Damage and recovery, and a wall with one open cell between the faces.

Legend: S samples, N cells, C channels, T steps, F features of the back face, D teacher width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from latticegraph.dynamics import Intervention, ReplaceCells, TrajectoryRecorder
from latticegraph.evaluation import EmbeddingSplit, GroupBootstrap
from latticegraph.evaluation.arrays import Floats
from latticegraph.hub import LatticeModel
from latticegraph.lattice import LatticeGraph
from latticegraph.lattice.crossing import reach

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)


def middle_block(graph: LatticeGraph) -> list[int]:
    """Cells of a block of half the side in the middle of the lattice, at least one."""
    sides_3 = np.array(graph.settings.dimensions)
    size_3 = np.maximum(1, sides_3 // 2)
    low_3 = (sides_3 - size_3) // 2
    place_N3 = graph.coordinates_N3.numpy()
    inside_N = ((place_N3 >= low_3) & (place_N3 < low_3 + size_3)).all(axis=1)
    cells: list[int] = np.flatnonzero(inside_N).tolist()
    return cells


def recovery(
    model: LatticeModel,
    heldout: EmbeddingSplit,
    groups: Sequence[str],
    train_mean_D: Floats,
    cells: Sequence[int],
    at: int,
    steps: int,
) -> list[dict[str, Any]]:
    r"""What erasing cells at one step costs the output, read after each of the following steps.

    .. math:: \Delta_t = \mathrm{EV}_t^{\mathrm{whole}} - \mathrm{EV}_t^{\mathrm{damaged}}

    explained variance of the output read after step t, with an interval over held-out groups. The
    damage comes back where it falls again after its peak. Steps beyond those that the model was
    trained with are worth little by themselves: there the whole model is at a loss too, which
    ``explained_variance`` shows. It says nothing about damage during training.

    Args:
        model: with a lattice.
        heldout: embeddings that nothing was fitted to.
        groups: of the samples.
        train_mean_D: mean of the training targets.
        cells: whose states become 0 after the step.
        at: number of the step, from 1.
        steps: last step that is read.

    Returns:
        ``step``, ``explained_variance`` (whole), ``lost`` and its ``interval``.
    """
    source_SD = torch.from_numpy(heldout.source_ND).to(model.student.std)
    spread_S = np.square(heldout.target_ND - train_mean_D).sum(axis=1)
    bootstrap = GroupBootstrap(groups, spread_S)

    def errors(step: int, *edits: Intervention) -> Floats:
        with torch.no_grad():
            output = model.student(source_SD, steps=step, interventions=edits)
        predicted_SD = output.embedding_BD.double().cpu().numpy()
        squared_S: Floats = np.square(predicted_SD - heldout.target_ND).sum(axis=1)
        return squared_S

    rows = []
    for step in range(at, steps + 1):
        whole_S = errors(step)
        damaged_S = errors(step, ReplaceCells([at], cells, 0.0))
        lost = bootstrap.differences(whole_S, {"lost": damaged_S})["lost"]
        rows.append(
            {
                "step": step,
                "explained_variance": float(1 - whole_S.sum() / spread_S.sum()),
                "lost": lost.value,
                "interval": None if lost.low is None else [lost.low, lost.high],
            }
        )
    return rows


def wall(graph: LatticeGraph) -> tuple[list[int], int]:
    """Cells of a wall between the faces that no edge jumps, and the one cell left open in it.

    The wall is as thick as the longest edge is deep; where the lattice has fewer planes between its
    faces, it is all of them. The open cell lies in the middle of the wall.

    Args:
        graph: the lattice, with a front and a back face and at least one plane between them.

    Returns:
        Numbers of the closed cells, and of the open one.
    """
    settings = graph.settings
    depth = settings.dimensions[settings.axis]
    thick = min(reach(settings)["all"], depth - 2)
    first = (depth - thick) // 2
    inside_N = (graph.depth_N >= first) & (graph.depth_N < first + thick)
    centre = [side // 2 for side in settings.dimensions]
    centre[settings.axis] = first + thick // 2
    row = (centre[0] * settings.dimensions[1] + centre[1]) * settings.dimensions[2] + centre[2]
    opening = int(graph.number_N[row])
    closed = [cell for cell in inside_N.nonzero().flatten().tolist() if cell != opening]
    return closed, opening


def one_cell_wall(
    model: LatticeModel, fit: EmbeddingSplit, heldout: EmbeddingSplit
) -> dict[str, Any]:
    r"""How much text passes a wall with one open cell (self-autoencoding, Faldor and Cully, 2024).

    Cells of the wall keep their first states, which hold no text. Explained variance of the target
    on held-out text is given twice: by the model's own readout, which never saw a wall, and by a
    ridge regression from the states of the back face that is fitted anew behind each wall.
    ``components`` is what as many principal components as a cell has channels would explain. The
    closed wall is the null: 0 but for noise. The model was not trained with a wall, so the result
    says how much its dynamics happen to send through one cell, not how much they could learn to.

    Args:
        model: with a front and a back face.
        fit: embeddings for the regression.
        heldout: embeddings to measure on.

    Returns:
        ``own`` and ``refitted`` by ``none``, ``one_cell`` and ``closed``; ``components``; ``cell``.
    """
    closed, opening = wall(model.graph)
    first_CNB = _first_states(model, heldout.source_ND[:1])
    walls = {"none": None, "one_cell": closed, "closed": [*closed, opening]}
    result: dict[str, Any] = {"own": {}, "refitted": {}, "cell": opening}
    for name, cells in walls.items():
        edits = () if cells is None else (ReplaceCells(None, cells, first_CNB[:, cells]),)
        known_CNB, _ = _final(model, fit.source_ND, edits)
        new_CNB, predicted_SD = _final(model, heldout.source_ND, edits)
        result["own"][name] = _explained(predicted_SD, heldout.target_ND, fit.target_ND)
        known_SF, new_SF = (_face(model, states) for states in (known_CNB, new_CNB))
        guess_SD = _regressed(known_SF, fit.target_ND, new_SF)
        result["refitted"][name] = _explained(guess_SD, heldout.target_ND, fit.target_ND)
    channels = model.student.settings.state_channels
    mean_D = fit.target_ND.mean(axis=0)
    _, _, axes = np.linalg.svd(fit.target_ND - mean_D, full_matrices=False)
    axes = axes[:channels]
    guess_SD = (heldout.target_ND - mean_D) @ axes.T @ axes + mean_D
    result["components"] = _explained(guess_SD, heldout.target_ND, fit.target_ND)
    return result


def _final(
    model: LatticeModel, source_SD: Floats, edits: Sequence[Intervention]
) -> tuple[torch.Tensor, Floats]:
    """Final states and predictions."""
    source = torch.from_numpy(source_SD).to(model.student.std)
    with torch.no_grad():
        output = model.student(source, interventions=edits)
    return output.states_CNB, output.embedding_BD.double().cpu().numpy()


def _first_states(model: LatticeModel, source_SD: Floats) -> torch.Tensor:
    recorder = TrajectoryRecorder()
    with torch.no_grad():
        model.student(torch.from_numpy(source_SD).to(model.student.std), recorder=recorder)
    return recorder.trajectory_TCNB[0]


def _face(model: LatticeModel, states_CNB: torch.Tensor) -> Floats:
    face_CFB = states_CNB[:, model.graph.output_cells.to(states_CNB.device)]
    face_SF: Floats = face_CFB.flatten(0, 1).t().double().cpu().numpy()
    return face_SF


def _explained(guess_SD: Floats, target_SD: Floats, fit_SD: Floats) -> float:
    spread = np.square(target_SD - fit_SD.mean(axis=0)).sum()
    return float(1 - np.square(guess_SD - target_SD).sum() / spread)


def _regressed(known_SF: Floats, target_SD: Floats, new_SF: Floats) -> Floats:
    """Ridge regression with the penalty that does best on the last quarter."""
    mean_F, mean_D = known_SF.mean(axis=0), target_SD.mean(axis=0)
    x, y, x_new = known_SF - mean_F, target_SD - mean_D, new_SF - mean_F
    if not np.abs(x).max() > 1e-9 * np.abs(known_SF).max():
        return np.broadcast_to(mean_D, (len(new_SF), len(mean_D)))
    cut = len(x) * 3 // 4
    kernel, cross = x @ x.T, x_new @ x.T
    scale = np.trace(kernel) / len(x)

    def solve(rows: int, penalty: float) -> Floats:
        dual: Floats = np.linalg.solve(
            kernel[:rows, :rows] + penalty * scale * np.eye(rows), y[:rows]
        )
        return dual

    missed = [
        float(np.square(kernel[cut:, :cut] @ solve(cut, penalty) - y[cut:]).sum())
        for penalty in PENALTIES
    ]
    best = PENALTIES[int(np.argmin(missed))]
    guess_SD: Floats = cross @ solve(len(x), best) + mean_D
    return guess_SD
