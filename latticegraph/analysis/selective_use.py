"""Selective use: how far the best cells for one class of text carry it alone.

Legend: S samples, N cells, C channels, T steps, B samples of a batch, K classes, D teacher width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latticegraph.analysis.null import Codes
from latticegraph.dynamics import AblateCells, Intervention, TrajectoryRecorder
from latticegraph.errors import DataError
from latticegraph.evaluation import EmbeddingSplit
from latticegraph.evaluation.arrays import Floats
from latticegraph.hub import LatticeModel

KEPT = (0.5, 0.25, 0.125, 0.0625)
RANDOM_SETS = 5
DIRECTIONS = 8


@dataclass(frozen=True)
class _Nudge(Intervention):
    """Adds a value to the states after a step, to be differentiated by."""

    value_CNB: Tensor | None = None

    def states(self, x_CNB: Tensor, samples: slice) -> Tensor:
        """States plus the value."""
        assert self.value_CNB is not None  # set by who makes it
        return x_CNB + self.value_CNB[:, :, samples]


def states_between(steps: int) -> range:
    """Numbers of the steps behind which another one follows.

    Args:
        steps: of the model.

    Raises:
        DataError: there is no state between two steps.
    """
    if steps < 2:
        raise DataError(
            "model.dynamics.steps",
            f"expected at least 2, so that there is a state between steps, got {steps}",
            "Analyse a model with more steps",
        )
    return range(1, steps)


def importance(
    model: LatticeModel, split: EmbeddingSplit, directions: int = DIRECTIONS, seed: int = 0
) -> tuple[Floats, Floats]:
    r"""Estimate of what the mean ablation of every cell costs every sample.

    With the output y, its error e and the way of a cell to its mean, d = mean x - x, at all states
    between steps,

    .. math:: \frac{\partial e}{\partial x} \cdot d
        + \Big\| \frac{\partial y}{\partial x} d \Big\|^2

    the first two orders of the squared error (Gauss-Newton; Hassibi and Stork, 1993). A readout
    fitted by least squares leaves the first order at about 0, so that it alone ranks nothing. The
    norm is estimated with random directions v of the output, as the mean of (v y' d)^2. It ranks
    cells; what they are worth is then measured by ablating them.

    Args:
        model: with at least two steps.
        split: embeddings.
        directions: v.
        seed: of v.

    Returns:
        The estimate for every sample and cell, and the variance of the states between steps.

    Shapes:
        [S, N] and [N].

    Raises:
        DataError: there is no state between two steps.
    """
    student = model.student
    between = states_between(student.settings.dynamics.steps)
    source, target = (
        torch.from_numpy(rows).to(student.std) for rows in (split.source_ND, split.target_ND)
    )
    shape = (student.settings.state_channels, model.graph.num_cells, len(source))
    nudges = [source.new_zeros(shape).requires_grad_() for _ in between]
    edits = [_Nudge([step], nudge) for step, nudge in zip(between, nudges, strict=True)]
    recorder = TrajectoryRecorder()
    with torch.enable_grad():
        output_SD = student(source, recorder=recorder, interventions=edits).embedding_BD
    states_TCNB = recorder.trajectory_TCNB.detach()[1:-1]
    away_TCNB = states_TCNB.mean(dim=3, keepdim=True) - states_TCNB

    def along(weight_SD: Tensor) -> Tensor:
        """How a weighted sum of the output changes on the way, by cell and sample."""
        grads = torch.autograd.grad(output_SD, nudges, weight_SD, retain_graph=True)
        changes = [(g * away).sum(dim=0) for g, away in zip(grads, away_TCNB, strict=True)]
        return torch.stack(changes).sum(dim=0).double().cpu()

    cost_NB = along(2 * (output_SD.detach() - target))
    random = torch.Generator().manual_seed(seed)
    for _ in range(directions):
        v_D = torch.randn(output_SD.shape[1], generator=random).to(output_SD)
        cost_NB += along(v_D.expand_as(output_SD)).square() / directions
    variance_N = states_TCNB.var(dim=3).mean(dim=(0, 1)).double().cpu().numpy()
    return cost_NB.t().numpy(), variance_N


def selective_use(
    model: LatticeModel,
    chosen_by: EmbeddingSplit,
    chosen_code_S: Codes,
    measured_on: EmbeddingSplit,
    measured_code_S: Codes,
    kept: Sequence[float] = KEPT,
    seed: int = 0,
) -> dict[str, dict[float, Floats]]:
    """Squared errors where all cells but some lose their text between steps.

    Kept are the best share of cells for each class: ranked by :func:`importance` on samples of that
    class (``own``), of the other classes (``others``), by the variance of their states
    (``magnitude``), or drawn at random (``random``, errors averaged over :data:`RANDOM_SETS` sets).
    All others are held at their mean over samples. Own cells are worth something to a class if own
    does better than others; own better than random only says that cells differ in importance.

    Args:
        model: with at least two steps.
        chosen_by: text that ranks the cells.
        chosen_code_S: its classes.
        measured_on: other text.
        measured_code_S: its classes.
        kept: shares of cells, each above 0 and below 1.
        seed: of the random sets.

    Returns:
        Errors of every sample of ``measured_on``, each under the cells of its own class, by ranking
        and share.
    """
    cost_SN, variance_N = importance(model, chosen_by)
    cells, random = cost_SN.shape[1], np.random.default_rng(seed)
    between = states_between(model.student.settings.dynamics.steps)
    source = torch.from_numpy(measured_on.source_ND)

    def errors(best_N: Codes) -> Floats:
        others = torch.from_numpy(np.setdiff1d(np.arange(cells), best_N))
        edits = [AblateCells(between, others, "mean")]
        predicted = model.run(source, len(source), interventions=edits).embedding_ND
        squared_S: Floats = np.square(predicted.double().numpy() - measured_on.target_ND).sum(1)
        return squared_S

    result: dict[str, dict[float, Floats]] = {
        name: {} for name in ("own", "others", "magnitude", "random")
    }
    for share in kept:
        count = max(1, round(share * cells))
        sets = [random.permutation(cells)[:count] for _ in range(RANDOM_SETS)]
        result["random"][share] = np.mean([errors(one) for one in sets], axis=0)
        result["magnitude"][share] = errors(np.argsort(-variance_N, kind="stable")[:count])
        for name in ("own", "others"):
            total_S = np.empty(len(source))
            for kind in np.unique(measured_code_S):
                ranked_by = (chosen_code_S == kind) == (name == "own")
                score_N = cost_SN[ranked_by].mean(axis=0)
                found_S = errors(np.argsort(-score_N, kind="stable")[:count])
                total_S[measured_code_S == kind] = found_S[measured_code_S == kind]
            result[name][share] = total_S
    return result


def explained(errors: Mapping[float, Floats], spread_S: Floats) -> dict[float, float]:
    """Explained variance for every share of cells kept."""
    return {share: float(1 - e.sum() / spread_S.sum()) for share, e in errors.items()}
