"""Section: what planes of cells hold at each step: similarity, dimension, information, influence.

Legend: T steps, S samples, L planes, N cells.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticegraph.analysis.dimension import bias_curve, entropy_rank, participation_ratio
from latticegraph.analysis.flow import influence, lagged_information, light_cone
from latticegraph.analysis.mutual_information import components, permuted_information
from latticegraph.analysis.null import Codes, Finding, Null, jackknife
from latticegraph.analysis.recording import affordable
from latticegraph.analysis.rounding import rounded
from latticegraph.analysis.similarity import cosine_matrix, debiased_cka, permuted_cka
from latticegraph.analysis.study import Section, Study

COMPONENTS = 4
NEIGHBOURS_COMPONENTS = 3
MOST_PICTURED = 120  # samples of a similarity matrix
INFLUENCE_SAMPLES = 48


def _varies(value: NDArray[np.floating]) -> bool:
    return bool(np.ptp(value, axis=0).max() > 0)


def layers_section(study: Study) -> Section:
    """Similarity to the teacher, dimension and information of every plane after every step.

    Args:
        study: the analysis.
    """
    recording, teacher = study.recording, study.text.split.source_ND
    tables: dict[str, list[list[float | None]]] = {
        name: [] for name in ("cka", "participation_ratio", "entropy_rank", "information_bits")
    }
    code = components(recording.code_SF, COMPONENTS)
    for step in range(recording.steps + 1):
        rows: dict[str, list[float | None]] = {name: [] for name in tables}
        for depth in recording.depths:
            layer = recording.layer(step, depth)
            known = _varies(layer)
            rows["cka"].append(debiased_cka(teacher, layer) if known else None)
            for name, measure in (
                ("participation_ratio", participation_ratio),
                ("entropy_rank", entropy_rank),
            ):
                rows[name].append(measure(layer) if known else None)
            value = None
            if known:
                value, null_P = permuted_information(code, components(layer, COMPONENTS), 19)
                value -= float(null_P.mean())
            rows["information_bits"].append(value)
        for name, row in rows.items():
            tables[name].append(row)
    data: dict[str, Any] = {
        "depths": recording.depths,
        **{f"{name}_by_step_plane": _round(table) for name, table in tables.items()},
        **_pictures(study),
    }
    return Section("What planes hold at each step", _findings(study), data)


def flow_section(study: Study) -> Section:
    """Influence of the input on every plane and step beside the light cone, and lags.

    Args:
        study: the analysis.
    """
    recording, graph = study.recording, study.model.graph
    few = affordable(INFLUENCE_SAMPLES, graph.num_cells)
    source = study.text.split.source_ND[:: max(1, len(study.text.texts) // few)][:few]
    moved_TN = influence(study.model, source, seed=study.seed)
    cone_TN = light_cone(graph, recording.steps)[: len(moved_TN)]
    depth_N = graph.depth_N.numpy()
    planes = [depth_N == depth for depth in recording.depths]
    outside = float(moved_TN[~cone_TN].max(initial=0.0))
    front = [recording.layer(step, recording.depths[0]) for step in range(recording.steps + 1)]
    lags = list(range(recording.steps + 1))
    peaks, tables = [], []
    for depth in recording.depths:
        other = [recording.layer(step, depth) for step in range(recording.steps + 1)]
        found_L, null_PL = lagged_information(front, other, lags, seed=study.seed)
        tables.append(found_L - null_PL.mean(axis=0))
        peaks.append(int(tables[-1].argmax()) if found_L.max() > null_PL.max() else None)
    findings = [
        Finding(
            "influence_outside_light_cone",
            "largest influence of the input on a cell that no edge can have brought it to",
            outside,
        )
    ]
    data = {
        "depths": recording.depths,
        "influence_by_step_plane": rounded(
            [[np.sqrt(np.square(row[plane]).mean()) for plane in planes] for row in moved_TN]
        ),
        "light_cone_by_step_plane": rounded(
            [[row[plane].mean() for plane in planes] for row in cone_TN]
        ),
        "influence_by_step_cell": rounded(moved_TN[:, recording.cells_n]),
        "lagged_bits_by_plane_lag": rounded(tables),
        "peak_lag_by_plane": peaks,
    }
    return Section("How the input spreads", findings, data)


def _similarity(x_SD: Any, y_SE: Any, rows: Codes) -> float:
    return debiased_cka(x_SD[rows], y_SE[rows])


def _findings(study: Study) -> list[Finding]:
    recording, teacher = study.recording, study.text.split.source_ND
    face, front = recording.face(), recording.layer(0, recording.depths[0])
    found = []
    for name, title, other in (
        ("cka_teacher_face", "similarity of the back face to the teacher", face),
        ("cka_teacher_output", "similarity of the output to the teacher", recording.output_SD),
    ):
        value, null_P = permuted_cka(teacher, other, 99, study.seed)
        _, low, high = jackknife(partial(_similarity, teacher, other), study.block_S)
        null = Null.of("samples permuted", value, null_P)
        found.append(Finding(name, f"{title} (debiased CKA)", value, low, high, (null,)))
    for nearest, name in ((False, "gaussian"), (True, "nearest_neighbours")):
        count = NEIGHBOURS_COMPONENTS if nearest else COMPONENTS
        x, y = components(front, count), components(face, count)
        value, null_P = permuted_information(x, y, 99, nearest=nearest, seed=study.seed)
        title = f"information between front and back face, {count} components, bits ({name})"
        null = Null.of("samples permuted", value, null_P)
        found.append(Finding(f"information_{name}", title.replace("_", " "), value, nulls=(null,)))
    return found


def _pictures(study: Study) -> dict[str, Any]:
    recording = study.recording
    face, count = recording.face(), len(study.code_S)
    sizes = sorted({max(8, count // part) for part in (16, 8, 4, 2, 1)})
    order = np.argsort(study.code_S, kind="stable")
    order = np.sort(order[:: -(-count // MOST_PICTURED)])
    order = order[np.argsort(study.code_S[order], kind="stable")]
    return {
        "bias_curve_face": [
            {name: round(value, 3) for name, value in row.items()}
            for row in bias_curve(face, sizes, seed=study.seed)
        ],
        "similarity_classes": [study.classes[code] for code in study.code_S[order]],
        "similarity_teacher": rounded(
            cosine_matrix(study.text.split.source_ND)[order][:, order], 2
        ),
        "similarity_face": rounded(cosine_matrix(face)[order][:, order], 2),
    }


def _round(table: list[list[float | None]]) -> list[list[float | None]]:
    return [[None if one is None else round(one, 4) for one in row] for row in table]
