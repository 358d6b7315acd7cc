"""Section: what the output loses by lesions, damage and walls, and whether maps agree with it.

Legend: S samples, N cells, R blocks, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from latticegraph.analysis.damage import middle_block, one_cell_wall, recovery
from latticegraph.analysis.lesions import (
    Measured,
    agreement,
    blocks_of,
    lost_by_class,
    lost_variance,
    measure_lesions,
    parts_of,
)
from latticegraph.analysis.null import Codes, Finding, Null
from latticegraph.analysis.recording import affordable
from latticegraph.analysis.rounding import rounded
from latticegraph.analysis.selective_use import KEPT, explained, selective_use
from latticegraph.analysis.specialisation import CellProbes, response, selectivity_index
from latticegraph.analysis.study import Section, Study
from latticegraph.evaluation import EmbeddingSplit, GroupBootstrap
from latticegraph.hub import LatticeModel

LESION_SAMPLES = 400
USE_SAMPLES = 300
_OTHER = {
    "others": "best cells for the other classes",
    "magnitude": "cells of largest variance",
    "random": "random cells",
}


def lesions_section(study: Study) -> Section:
    """Lesions of all parts, and the agreement of the causal map with the maps of cells.

    Args:
        study: the analysis.
    """
    rows_S = _some(study, LESION_SAMPLES)
    text = study.text.only(rows_S)
    code_S = study.code_S[rows_S]
    measured = measure_lesions(
        study.model, text.split, text.groups, study.train_mean_D, parts_of(study.model)
    )
    rows = lost_variance(measured)
    lost_KR = lost_by_class(measured, "block", "mean", code_S)
    findings = _agreements(study, measured, rows_S)
    block_N = blocks_of(study.model.graph)
    overall_R = np.array([row["value"] for row in rows if row["kind"] == "block"])
    data: dict[str, Any] = {
        "lesions": [_short(row) for row in rows],
        "experts_by_class": rounded(lost_by_class(measured, "expert", "mean", code_S)),
        "experts": list(study.model.student.dynamics.names),
        "classes": study.classes,
        "block_by_cell": block_N[study.recording.cells_n].tolist(),
        "lost_by_block": rounded(overall_R, 5),
        "lost_by_class_block": rounded(lost_KR, 5),
    }
    return Section("What the output loses", findings, data)


def use_section(study: Study, twin: LatticeModel) -> Section:
    """Selective use: the best cells for a class, chosen on one half and measured on the other.

    Args:
        study: the analysis, of a model with at least two steps.
        twin: an untrained lattice of the same configuration.
    """
    most = affordable(USE_SAMPLES, study.model.graph.num_cells)
    rows = [np.flatnonzero(study.half_S == half)[:most] for half in (0, 1)]
    chosen, measured = (study.text.only(part) for part in rows)
    codes = [study.code_S[part] for part in rows]
    spread_S = np.square(measured.split.target_ND - study.train_mean_D).sum(axis=1)
    bootstrap = GroupBootstrap(measured.groups, spread_S)
    findings: list[Finding] = []
    curves: dict[str, Any] = {}
    for model, suffix in ((study.model, ""), (twin, "_untrained")):
        errors = selective_use(
            model, chosen.split, codes[0], measured.split, codes[1], seed=study.seed
        )
        means = {name: np.mean(list(one.values()), axis=0) for name, one in errors.items()}
        own = means.pop("own")
        for other, found in bootstrap.differences(own, means).items():
            if suffix and other != "others":
                continue
            title = f"explained variance kept: best cells for a class minus {_OTHER[other]}"
            title += ", untrained lattice" if suffix else ""
            name = f"use_own_minus_{other}{suffix}"
            findings.append(Finding(name, title, found.value, found.low, found.high))
        for name, one in errors.items():
            curves[f"{name}{suffix}"] = rounded(list(explained(one, spread_S).values()))
        whole_SD = model.predict(torch.from_numpy(measured.split.source_ND)).double().numpy()
        missed = np.square(whole_SD - measured.split.target_ND).sum()
        curves[f"whole{suffix}"] = rounded(1 - missed / spread_S.sum())
    return Section("Selective use", findings, {"kept": list(KEPT), **curves})


def damage_section(study: Study) -> Section:
    """A block erased at a step, and a wall with one open cell.

    Args:
        study: the analysis.
    """
    rows_S = _some(study, LESION_SAMPLES)
    text, model = study.text.only(rows_S), study.model
    last = study.recording.steps
    cells = middle_block(model.graph)
    curves = {
        str(at): recovery(
            model, text.split, text.groups, study.train_mean_D, cells, at, last + min(last, 8)
        )
        for at in sorted({1, max(1, last // 2)})
    }
    data: dict[str, Any] = {
        "erased_cells": len(cells),
        "trained_steps": last,
        "recovery": {at: [_short(row) for row in rows] for at, rows in curves.items()},
    }
    findings: list[Finding] = []
    settings = model.graph.settings
    if settings.surface == "front_back" and settings.dimensions[settings.axis] > 2:
        every = -(-len(study.fit.source_ND) // affordable(1000, model.graph.num_cells))
        fit = EmbeddingSplit(study.fit.source_ND[::every], study.fit.target_ND[::every])
        found = one_cell_wall(model, fit, text.split)
        data["wall"] = {
            "own": _short(found["own"]),
            "refitted": _short(found["refitted"]),
            "components": round(found["components"], 4),
        }
        findings.append(
            Finding(
                "wall_one_cell",
                "explained variance behind a wall with one open cell, readout fitted anew",
                found["refitted"]["one_cell"],
            )
        )
    return Section("Damage, and a wall with one open cell", findings, data)


def _agreements(study: Study, measured: Measured, rows_S: Codes) -> list[Finding]:
    """Rank correlations of the causal map with maps of cells, over blocks, inside planes."""
    recording = study.recording
    blocks_n = blocks_of(study.model.graph)[recording.cells_n]
    size_R = np.maximum(np.bincount(blocks_n), 1)
    depth_R = np.bincount(blocks_n, recording.depth_n) / size_R
    plane_R = np.unique(depth_R.round(6), return_inverse=True)[1].astype(np.int64)
    states = recording.states_TSnC[max(1, recording.steps - 1)]
    probes, seen_Sn = CellProbes(states, study.half_S), response(states)
    classes = len(study.classes)

    def both(code_S: Codes) -> tuple[float, float]:
        lost_KR = lost_by_class(measured, "block", "mean", code_S[rows_S])
        accuracy_R = np.bincount(blocks_n, probes.accuracy(code_S)) / size_R
        index_Kn = selectivity_index(seen_Sn, code_S, classes)
        more_KR = lost_KR - lost_KR.mean(axis=0)
        by_class = [
            agreement(more_R, np.bincount(blocks_n, index_n) / size_R, plane_R)
            for more_R, index_n in zip(more_KR, index_Kn, strict=True)
        ]
        return agreement(lost_KR.mean(axis=0), accuracy_R, plane_R), float(np.mean(by_class))

    values, null_P2 = both(study.code_S), np.array([both(order) for order in study.orders])
    titles = {
        "agreement_accuracy": "rank correlation of blocks: lost by lesion, and accuracy of probes",
        "agreement_selectivity": "the same: lost more for one class than for others, and "
        "selectivity for it",
    }
    return [
        Finding(name, title, value, nulls=(Null.of(study.orders.kind, value, null_P),))
        for (name, title), value, null_P in zip(titles.items(), values, null_P2.T, strict=True)
    ]


def _some(study: Study, most: int) -> Any:
    rows = np.arange(len(study.code_S))
    return rows[:: -(-len(rows) // affordable(most, study.model.graph.num_cells))]


def _short(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: rounded(value, 5) if isinstance(value, float | list) else value
        for name, value in row.items()
    }
