"""Section: whether cells and experts tell classes of text apart, against exchanged labels.

Legend: T steps, S samples, N cells, K classes, P permutations.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from latticegraph.analysis.expert_use import class_gates, divergence, permuted_ratio
from latticegraph.analysis.null import Codes, Finding, LabelPermutations, Null, family_wise
from latticegraph.analysis.probes import control_labels
from latticegraph.analysis.rounding import rounded
from latticegraph.analysis.specialisation import (
    CellMap,
    CellProbes,
    response,
    selectivity_map,
)
from latticegraph.analysis.study import LEVEL, Section, Study
from latticegraph.evaluation import gate_information
from latticegraph.evaluation.arrays import Floats


def experts_section(study: Study) -> Section:
    """How gates differ between the classes of text.

    Args:
        study: the analysis.
    """
    gates_TSNX, orders = study.recording.gates_TSnX, study.orders
    ratio, null_P = permuted_ratio(gates_TSNX, study.code_S, orders)
    bits, bits_P = _gate_bits(study)
    findings = [
        Finding(
            "gate_information",
            "information between the expert a cell uses and the class of the text, bits per cell",
            bits,
            nulls=(Null.of(orders.kind, bits, bits_P),),
        ),
        Finding(
            "domain_ratio",
            "largest share of an expert for one class over its share for all (1: alike)",
            ratio,
            nulls=(Null.of(orders.kind, ratio, null_P),),
        ),
    ]
    maps_TKNX = class_gates(gates_TSNX, study.code_S)
    data = {
        "experts": list(study.recording.experts),
        "share": rounded(gates_TSNX.mean(axis=(0, 1, 2), dtype=np.float64)),
        "share_by_class": rounded(maps_TKNX.mean(axis=(0, 2))),
        "dominant_by_step_class_cell": maps_TKNX.argmax(axis=3).tolist(),
        "largest_share_by_step_class_cell": rounded(maps_TKNX.max(axis=3)),
        "divergence_by_step_cell": rounded(divergence(gates_TSNX, study.code_S)),
    }
    return Section("Which experts cells use", findings, data)


def cells_section(study: Study) -> Section:
    """Which cells respond to which class, and which can be read.

    Maps are tested over all cells and shown steps at once.

    Args:
        study: the analysis.
    """
    kind = study.orders.kind
    selective = _over_steps([_selective(study, step) for step in study.steps_shown])
    probes = [
        CellProbes(study.recording.states_TSnC[step], study.half_S) for step in study.steps_shown
    ]
    read = _over_steps([one.map(study.code_S, study.orders) for one in probes])
    control_S = control_labels(study.text.types, study.code_S, study.seed)
    control = _over_steps([one.map(control_S, _control_orders(study, control_S)) for one in probes])
    size = np.abs(selective.value_KN)
    findings = [
        _mean("selectivity", "mean size of the selectivity index of cells", size, selective, kind),
        _largest("selectivity_largest", "largest selectivity index", size, selective, kind),
        _mean(
            "cell_accuracy", "mean balanced accuracy of probes in cells", read.value_KN, read, kind
        ),
        _largest(
            "cell_accuracy_largest", "best balanced accuracy of a cell", read.value_KN, read, kind
        ),
        _mean(
            "control_accuracy",
            "the same for a random class per type of text (control task)",
            control.value_KN,
            control,
            "control labels exchanged",
        ),
    ]
    steps = len(study.steps_shown)
    data: dict[str, Any] = {
        "steps": study.steps_shown,
        "classes": study.classes,
        "selectivity_by_step_class_cell": rounded(_by_step(selective.value_KN, steps)),
        "selective_by_step_class_cell": (_by_step(selective.p_KN, steps) <= LEVEL).tolist(),
        "accuracy_by_step_cell": rounded(_by_step(read.value_KN, steps)[:, 0]),
        "control_accuracy_by_step_cell": rounded(_by_step(control.value_KN, steps)[:, 0]),
        "readable_by_step_cell": (_by_step(read.p_KN, steps)[:, 0] <= LEVEL).tolist(),
        "share_selective": float((_by_step(selective.p_KN, steps) <= LEVEL).any(axis=1).mean()),
        "share_readable": float((read.p_KN <= LEVEL).mean()),
    }
    return Section("Which cells know the class of a text", findings, data)


def _gate_bits(study: Study) -> tuple[float, Floats]:
    """Information for the real order, and for others, which respect groups."""
    gates_SNX = study.recording.gates_TSnX.mean(axis=0, dtype=np.float64)

    def bits(code_S: Codes) -> float:
        return gate_information(gates_SNX, code_S.tolist(), permutations=1).value

    return bits(study.code_S), np.array([bits(order) for order in study.orders])


def _control_orders(study: Study, control_S: Codes) -> LabelPermutations:
    return LabelPermutations(control_S.tolist(), study.text.groups, 19, study.seed)


def _selective(study: Study, step: int) -> CellMap:
    seen_SN = response(study.recording.states_TSnC[step])
    return selectivity_map(seen_SN, study.code_S, study.orders)


def _over_steps(maps: list[CellMap]) -> CellMap:
    """One map of all steps, tested over all of them."""
    values = [one.value_KN for one in maps]
    largest_P = np.max([one.largest_P for one in maps], axis=0)
    value_RN = np.stack(values).reshape(-1, values[0].shape[1])
    p_RN = family_wise(np.abs(value_RN).ravel(), largest_P[:, None]).reshape(value_RN.shape)
    return CellMap(value_RN, p_RN, largest_P, np.mean([one.null_P for one in maps], axis=0))


def _by_step(value_RN: Floats, steps: int) -> Floats:
    by_step: Floats = value_RN.reshape(steps, -1, value_RN.shape[1])
    return by_step


def _mean(name: str, title: str, value_RN: Floats, tested: CellMap, kind: str) -> Finding:
    value = float(value_RN.mean())
    return Finding(name, title, value, nulls=(Null.of(kind, value, tested.null_P),))


def _largest(name: str, title: str, value_RN: Floats, tested: CellMap, kind: str) -> Finding:
    value = float(value_RN.max())
    return Finding(name, title, value, nulls=(Null.of(kind, value, tested.largest_P),))
