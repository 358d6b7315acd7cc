"""Section: what training changed, against untrained lattices of the same configuration.

Legend: S samples, N cells, R lattices (the trained one first), J statistics.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from latticegraph.analysis.dimension import participation_ratio
from latticegraph.analysis.expert_use import divergence, domain_ratio
from latticegraph.analysis.null import Finding, Null, Side, jackknife
from latticegraph.analysis.recording import Recording, record_model
from latticegraph.analysis.rounding import rounded
from latticegraph.analysis.similarity import debiased_cka
from latticegraph.analysis.specialisation import CellProbes, response, selectivity_index
from latticegraph.analysis.study import Section, Study
from latticegraph.evaluation import gate_information
from latticegraph.evaluation.arrays import Floats
from latticegraph.hub import LatticeModel

_log = logging.getLogger(__name__)

KIND = "untrained lattices"
SPECIALISATION = {
    "gate_information": "information between expert and class, bits per cell",
    "domain_ratio": "largest share of an expert for one class over its share for all",
    "divergence": "mean difference of gates between classes",
    "selectivity": "mean size of the selectivity index of cells",
    "accuracy_spread": "spread of the probes' accuracy between cells of one plane",
}
OTHERS = {
    "accuracy": "mean balanced accuracy of probes in cells",
    "teacher_similarity": "similarity of the back face to the teacher (debiased CKA)",
    "face_dimension": "participation ratio of the back face, directions",
}


def statistics_of(study: Study, recording: Recording) -> dict[str, float]:
    """Statistics of one lattice on the text of the study, trained or not.

    Values of cells are averaged over the shown steps.

    Args:
        study: text and classes.
        recording: of any lattice of the same shape.
    """
    code_S, classes = study.code_S, len(study.classes)
    gates_SNX = recording.gates_TSnX.mean(axis=0, dtype=np.float64)
    sizes, accuracies, spreads = [], [], []
    for step in study.steps_shown:
        states_SNC = recording.states_TSnC[step]
        sizes.append(np.abs(selectivity_index(response(states_SNC), code_S, classes)).mean())
        accuracy_N = CellProbes(states_SNC, study.half_S).accuracy(code_S)
        accuracies.append(accuracy_N.mean())
        planes = [accuracy_N[recording.depth_n == depth] for depth in recording.depths]
        spreads.append(np.mean([plane.std() for plane in planes]))
    face = recording.face()
    return {
        "gate_information": gate_information(gates_SNX, code_S.tolist(), permutations=1).value,
        "domain_ratio": domain_ratio(recording.gates_TSnX, code_S),
        "divergence": float(divergence(recording.gates_TSnX, code_S).mean()),
        "selectivity": float(np.mean(sizes)),
        "accuracy_spread": float(np.mean(spreads)),
        "accuracy": float(np.mean(accuracies)),
        "teacher_similarity": debiased_cka(study.text.split.source_ND, face),
        "face_dimension": participation_ratio(face),
    }


def omnibus(values_RJ: Floats) -> Floats:
    r"""One score for several statistics, by which a lattice is compared with its twins.

    .. math:: z_r = \operatorname{mean}_j (v_{rj} - \bar v_j) / \sigma_j

    with mean and deviation over all lattices alike, the trained one included. The p-value is the
    rank of its score. If it is exchangeable with the others, p is at most a with probability at
    most a, however the statistics depend on each other. Single statistics are looked at only where
    it is small (a gatekeeper), so that a lattice without any difference is called different with
    that probability at most.

    Args:
        values_RJ: statistics, larger means more; the lattice in question first.

    Shapes:
        values_RJ: [R, J]; result: [R].
    """
    spread_J = values_RJ.std(axis=0)
    standard_RJ = (values_RJ - values_RJ.mean(axis=0)) / np.where(spread_J > 0, spread_J, 1.0)
    score_R: Floats = standard_RJ.mean(axis=1)
    return score_R


def twins_section(study: Study, twins: Iterable[LatticeModel]) -> Section:
    """Statistics of the trained lattice beside those of untrained ones.

    Args:
        study: the analysis.
        twins: lattices of the same configuration before their first update, with several seeds.
    """
    source_SD = torch.from_numpy(study.text.split.source_ND)
    own = statistics_of(study, study.recording)
    others = []
    for number, twin in enumerate(twins, start=1):
        _log.info("untrained lattice %s", number)
        others.append(statistics_of(study, record_model(twin, source_SD)))
    findings = compare_with_twins(own, others)
    by_groups = {
        "teacher_similarity": lambda s: debiased_cka(
            study.text.split.source_ND[s], study.recording.face()[s]
        ),
        "face_dimension": lambda s: participation_ratio(study.recording.face()[s]),
    }
    for index, finding in enumerate(findings):
        if finding.name in by_groups:
            _, low, high = jackknife(by_groups[finding.name], study.block_S)
            findings[index] = Finding(
                finding.name, finding.title, finding.value, low, high, finding.nulls
            )
    data = {"twins": [{name: rounded(value, 6) for name, value in one.items()} for one in others]}
    return Section("What training changed", findings, data)


def compare_with_twins(
    own: Mapping[str, float], others: Sequence[Mapping[str, float]]
) -> list[Finding]:
    """The omnibus test of specialisation, and every statistic beside its twins.

    Args:
        own: of :func:`statistics_of`, of the lattice in question.
        others: of its twins.
    """
    names = list(SPECIALISATION)
    values_RJ = np.array([[one[name] for name in names] for one in (own, *others)])
    score_R = omnibus(values_RJ)
    value = float(score_R[0])
    title = "mean of the statistics of specialisation, each in deviations over all lattices"
    findings = [Finding("specialisation", title, value, nulls=(Null.of(KIND, value, score_R[1:]),))]
    for name, title in (SPECIALISATION | OTHERS).items():
        null = np.array([one[name] for one in others])
        side: Side = "greater" if name in SPECIALISATION else "two-sided"
        findings.append(
            Finding(name, title, own[name], nulls=(Null.of(KIND, own[name], null, side),))
        )
    return findings
