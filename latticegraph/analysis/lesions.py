"""What the output loses when a part of the lattice loses its text: the causal map.

Legend: S samples, N cells, K classes, D teacher width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from latticegraph.analysis.null import Codes
from latticegraph.dynamics import AblateCells, AblateEdges, AblateExpert, Ablation, Intervention
from latticegraph.evaluation import EmbeddingSplit, GroupBootstrap
from latticegraph.evaluation.arrays import Floats
from latticegraph.hub import LatticeModel
from latticegraph.lattice import EdgeType, LatticeGraph

ABLATIONS: tuple[Ablation, ...] = ("zero", "mean", "resample")
MOST_PARTS = 4  # along each axis, of the blocks of the causal map


@dataclass(frozen=True)
class Lesion:
    """A part of the lattice that can lose its text.

    Attributes:
        kind: ``expert``, ``edges``, ``plane`` or ``block``.
        name: of the part.
        make: the intervention for a kind of ablation.
    """

    kind: str
    name: str
    make: Callable[[Ablation], Intervention]


@dataclass(frozen=True)
class Measured:
    """Squared errors of a model on one text, whole and with lesions.

    Attributes:
        whole_S: of the whole model.
        lesioned: by (kind, name, ablation).
        spread_S: squared distance of the targets from the mean of the training targets.
        groups: of the samples.
    """

    whole_S: Floats
    lesioned: Mapping[tuple[str, str, Ablation], Floats]
    spread_S: Floats
    groups: Sequence[str]


def parts_of(model: LatticeModel) -> list[Lesion]:
    """Experts, edge types and planes of a model, and blocks of its cells.

    Args:
        model: with a lattice.
    """
    graph = model.graph
    used = {edge for expert in model.config.model.experts for edge in expert.edges}
    lesions = [Lesion("expert", name, _expert(name)) for name in model.student.dynamics.names]
    lesions += [
        Lesion("edges", kind.label, _edges(kind)) for kind in EdgeType if kind.label in used
    ]
    for depth in range(int(graph.depth_N.max()) + 1):
        cells = (graph.depth_N == depth).nonzero().flatten()
        lesions.append(_cells("plane", str(depth), cells))
    block_N = blocks_of(graph)
    for block in range(int(block_N.max()) + 1):
        cells = torch.from_numpy(np.flatnonzero(block_N == block))
        lesions.append(_cells("block", str(block), cells))
    return lesions


def blocks_of(graph: LatticeGraph, most: int = MOST_PARTS) -> Codes:
    """The block of every cell: each axis divided into at most ``most`` about equal parts.

    Args:
        graph: the lattice.
        most: parts of an axis.

    Shapes:
        result: [N], from 0.
    """
    sides_3 = np.array(graph.settings.dimensions)
    parts_3 = np.minimum(most, sides_3)
    part_N3 = graph.coordinates_N3.numpy() * parts_3 // sides_3
    block_N: Codes = (part_N3[:, 0] * parts_3[1] + part_N3[:, 1]) * parts_3[2] + part_N3[:, 2]
    return block_N


def measure_lesions(
    model: LatticeModel,
    heldout: EmbeddingSplit,
    groups: Sequence[str],
    train_mean_D: Floats,
    lesions: Sequence[Lesion],
    ablations: Sequence[Ablation] = ABLATIONS,
    batch_size: int = 500,
) -> Measured:
    """Run a model on held-out text, whole and with every lesion.

    Mean and other sample are those of the samples of one batch. Blocks are measured at their mean
    alone.

    Args:
        model: with a lattice.
        heldout: embeddings that nothing was fitted to.
        groups: of the samples.
        train_mean_D: mean of the training targets.
        lesions: of :func:`parts_of`.
        ablations: kinds.
        batch_size: samples per forward pass.
    """
    source_SD = torch.from_numpy(heldout.source_ND)

    def errors(*edits: Intervention) -> Floats:
        predicted = model.run(source_SD, batch_size, interventions=edits).embedding_ND
        squared_S: Floats = np.square(predicted.double().numpy() - heldout.target_ND).sum(axis=1)
        return squared_S

    lesioned = {
        (lesion.kind, lesion.name, how): errors(lesion.make(how))
        for lesion in lesions
        for how in ablations
        if lesion.kind != "block" or how == "mean"
    }
    spread_S = np.square(heldout.target_ND - train_mean_D).sum(axis=1)
    return Measured(errors(), lesioned, spread_S, groups)


def lost_variance(measured: Measured, resamples: int = 2000) -> list[dict[str, Any]]:
    r"""Explained variance that every lesion costs, with an interval over held-out groups.

    .. math:: \frac{\sum_s (e_s^{\mathrm{lesion}} - e_s)}{\sum_s \|y_s - \bar y\|^2}

    Positive: the output needs the part. The interval is that of a paired bootstrap over groups
    (:class:`~latticegraph.evaluation.GroupBootstrap`). Parts that can stand in for each other each
    cost little; a large cost does not say what the part does. ``zero`` also removes constants that
    the readout expects; ``mean`` and ``resample`` remove the text alone.

    Args:
        measured: of :func:`measure_lesions`.
        resamples: of the bootstrap.

    Returns:
        ``kind``, ``part``, ``ablation``, ``value`` and ``interval`` of every lesion.
    """
    bootstrap = GroupBootstrap(measured.groups, measured.spread_S, resamples=resamples)
    names = {"\0".join(key): errors for key, errors in measured.lesioned.items()}
    found = bootstrap.differences(measured.whole_S, names)
    rows = []
    for name, difference in found.items():
        kind, part, how = name.split("\0")
        interval = None if difference.low is None else [difference.low, difference.high]
        rows.append(
            {
                "kind": kind,
                "part": part,
                "ablation": how,
                "value": difference.value,
                "interval": interval,
            }
        )
    return rows


def lost_by_class(measured: Measured, kind: str, how: Ablation, code_S: Codes) -> Floats:
    """Explained variance that each part of one kind costs each class of text.

    Each class is measured by its own spread.

    Args:
        measured: of :func:`measure_lesions`.
        kind: of the parts.
        how: the ablation.
        code_S: class of every sample.

    Shapes:
        result: [K, parts], in the order of :func:`parts_of`.
    """
    one_KS = (np.arange(int(code_S.max()) + 1)[:, None] == code_S).astype(np.float64)
    gain_RS = np.array(
        [
            errors - measured.whole_S
            for (kind_, _, how_), errors in measured.lesioned.items()
            if (kind_, how_) == (kind, how)
        ]
    )
    lost_KR: Floats = (one_KS @ gain_RS.T) / (one_KS @ measured.spread_S)[:, None]
    return lost_KR


def agreement(first_N: Floats, second_N: Floats, plane_N: Codes) -> float:
    r"""Rank correlation of two maps inside planes.

    Spearman's rho, from -1 to 1, of the values minus their mean in each plane: that both maps are
    large near one face is no agreement. Places that are near each other are alike, and two maps of
    one text share its accidents, so exchanged places are no null: on untrained lattices with random
    labels more than half of the maps seemed to agree. Exchange the labels and make both maps again.

    Args:
        first_N: one map.
        second_N: the other.
        plane_N: plane of every place.
    """
    from scipy.stats import rankdata

    ranks = []
    for value_N in (first_N, second_N):
        size_P = np.maximum(np.bincount(plane_N), 1)
        centred_N = value_N - (np.bincount(plane_N, value_N) / size_P)[plane_N]
        ranks.append(rankdata(centred_N.round(12)) - (len(centred_N) + 1) / 2)
    size = float(np.sqrt(np.square(ranks[0]).sum() * np.square(ranks[1]).sum()))
    return float(ranks[0] @ ranks[1] / size) if size > 0 else 0.0


def _expert(name: str) -> Callable[[Ablation], Intervention]:
    return lambda how: AblateExpert(name=name, how=how)


def _edges(kind: EdgeType) -> Callable[[Ablation], Intervention]:
    return lambda how: AblateEdges(edges=kind, how=how)


def _cells(kind: str, name: str, cells: torch.Tensor) -> Lesion:
    return Lesion(kind, name, lambda how: AblateCells(cells=cells, how=how))
