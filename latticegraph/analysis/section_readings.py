"""Section: what can be read from teacher, planes and student; whether phrases follow from parts.

Legend: S samples, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latticegraph.analysis.composition import composition, parts_of_text
from latticegraph.analysis.null import (
    Codes,
    Finding,
    LabelPermutations,
    Null,
    group_order,
    jackknife,
)
from latticegraph.analysis.probes import balanced, code_length, control_labels, probe
from latticegraph.analysis.recording import Recording, record_model
from latticegraph.analysis.study import Section, Study
from latticegraph.evaluation.arrays import Floats
from latticegraph.hub import LatticeModel

PROBE_DIMENSION = 32
PHRASES = 300

Embed = Callable[[Sequence[str]], Floats]


def representations(recording: Recording, source_SD: Floats) -> dict[str, NDArray[np.floating]]:
    """What probes read, by name, from the teacher to the output.

    Args:
        recording: of a lattice.
        source_SD: embeddings that went in.
    """
    middle = recording.depths[len(recording.depths) // 2]
    half = (recording.steps + 1) // 2
    found: dict[str, NDArray[np.floating]] = {
        "teacher": source_SD,
        "code": recording.code_SF,
        f"middle plane, step {half}": recording.layer(half, middle),
        "back face": recording.face(),
        "output": recording.output_SD,
    }
    return {name: value for name, value in found.items() if np.ptp(value, axis=0).max() > 0}


def probes_section(study: Study) -> Section:
    """Accuracy, selectivity and description length of every representation.

    Args:
        study: the analysis.
    """
    code_S, orders = study.code_S, study.orders
    control_S = control_labels(study.text.types, code_S, study.seed)
    control_orders = LabelPermutations(control_S.tolist(), study.text.groups, 1, study.seed)
    order_S = group_order(study.text.groups, study.seed)
    findings, rows = [], []
    for name, x_SD in representations(study.recording, study.text.split.source_ND).items():
        found = probe(x_SD, code_S, study.half_S, orders, PROBE_DIMENSION)
        control = probe(x_SD, control_S, study.half_S, control_orders, PROBE_DIMENSION)
        bits = code_length(x_SD, code_S, order_S, PROBE_DIMENSION)
        _, low, high = jackknife(partial(_balanced, found.right_S, code_S), study.block_S)
        low, high = max(low, 0.0), min(high, 1.0)
        null = Null.of(f"{orders.kind}, predictions kept", found.accuracy, found.null_P)
        title = f"balanced accuracy of a linear probe for the class: {name}"
        key = f"probe_{name.replace(', ', '_').replace(' ', '_')}"
        findings.append(Finding(key, title, found.accuracy, low, high, (null,)))
        rows.append(
            {
                "representation": name,
                "accuracy": round(found.accuracy, 4),
                "interval": [round(low, 4), round(high, 4)],
                "control": round(control.accuracy, 4),
                "selectivity": round(found.accuracy - control.accuracy, 4),
                "bits_per_label": round(bits, 4),
            }
        )
    data: dict[str, Any] = {
        "probes": rows,
        "chance": 1 / len(study.classes),
        "uniform_bits": round(float(np.log2(len(study.classes))), 4),
        "dimension": PROBE_DIMENSION,
    }
    return Section("What a linear probe reads", findings, data)


def _balanced(right_S: NDArray[np.bool_], code_S: Codes, rows: Codes) -> float:
    return balanced(right_S[rows], code_S[rows])


def composition_section(study: Study, embed: Embed, twin: LatticeModel) -> Section | None:
    """How far states of phrases follow from those of their halves; None for too short texts.

    Args:
        study: the analysis.
        embed: embeddings of texts, by the teacher.
        twin: an untrained lattice of the same configuration.
    """
    parts = [parts_of_text(text) for text in study.text.texts]
    rows = np.array([i for i, part in enumerate(parts) if part is not None][:PHRASES])
    halves = study.half_S[rows] if len(rows) else rows
    if len(rows) < 40 or len(set(halves.tolist())) < 2:
        return None
    firsts = [part[0] for part in (parts[row] for row in rows) if part is not None]
    seconds = [part[1] for part in (parts[row] for row in rows) if part is not None]
    embedded = embed([*firsts, *seconds])
    sources = [embedded[: len(rows)], embedded[len(rows) :], study.text.split.source_ND[rows]]
    findings, table = [], []
    for model, who in ((study.model, "trained"), (twin, "untrained")):
        recordings = [record_model(model, torch.from_numpy(source)) for source in sources]
        for name in ("teacher", "back face", "output") if who == "trained" else ("back face",):
            first, second, whole = (
                representations(recording, source)[name]
                for recording, source in zip(recordings, sources, strict=True)
            )
            value, one_P, both_P = composition(first, second, whole, halves, seed=study.seed)
            table.append(
                {
                    "representation": name if who == "trained" else f"{name}, untrained",
                    "explained": round(value, 4),
                    "second_shuffled": round(float(one_P.mean()), 4),
                    "both_shuffled": round(float(both_P.mean()), 4),
                }
            )
            if who == "trained":
                nulls = (
                    Null.of("second parts shuffled", value, one_P),
                    Null.of("both parts shuffled", value, both_P),
                )
                key = f"composition_{name.replace(' ', '_')}"
                title = f"variance of whole texts explained by their halves: {name}"
                findings.append(Finding(key, title, value, nulls=nulls))
    return Section("Whether phrases follow from their parts", findings, {"composition": table})
