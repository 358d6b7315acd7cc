"""What an analysis found, in plain sentences that follow from its p-values and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from latticegraph.analysis.section_twins import SPECIALISATION


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for their number (Holm, 1979).

    Args:
        p_values: by name.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    order = sorted(p_values, key=lambda name: p_values[name])
    reached, found = 0.0, {}
    for rank, name in enumerate(order):
        reached = max(reached, min(1.0, (len(order) - rank) * p_values[name]))
        found[name] = round(reached, 12)
    return {name: found[name] for name in p_values}


def summary(result: Mapping[str, Any]) -> list[str]:
    """Sentences about an analysis; each follows from one test or interval.

    Args:
        result: as in ``analysis.json``, with ``sections``, ``text`` and ``level``.
    """
    sections, level = result["sections"], result["level"]
    lines = [*_training(sections["training"], level), *_labels(sections, result["text"], level)]
    lines += _lesions(sections["lesions"])
    lines += _agreement(sections["lesions"]["findings"], level)
    if "use" in sections:
        lines += _use(sections["use"])
    lines.append(_teacher(sections["layers"]["findings"]))
    lines.append(_probes(sections["probes"]))
    lines += _damage(sections["damage"])
    return lines


def _training(section: Mapping[str, Any], level: float) -> list[str]:
    found = section["findings"]
    null = found["specialisation"]["nulls"][0]
    beside = f"{null['count']} untrained lattices (p = {null['p_value']:.3g})"
    if null["p_value"] > level:
        return [
            "No measurable specialisation: taken together, the statistics of experts and cells are "
            f"within the range of {beside}."
        ]
    single = [
        f"{title} {found[name]['value']:.3g} (untrained {found[name]['nulls'][0]['mean']:.3g})"
        for name, title in SPECIALISATION.items()
        if found[name]["nulls"][0]["p_value"] <= level
    ]
    named = "; ".join(single) if single else "no single statistic stands out"
    return [f"Training made experts and cells more specialised than in {beside}: {named}."]


def _labels(sections: Mapping[str, Any], text: Mapping[str, Any], level: float) -> list[str]:
    places = {
        "gate_information": ("experts", "which expert a cell uses"),
        "selectivity_largest": ("cells", "how strongly cells respond"),
        "cell_accuracy_largest": ("cells", "what a linear probe reads from single cells"),
    }
    p_values = {
        name: sections[part]["findings"][name]["nulls"][0]["p_value"]
        for name, (part, _) in places.items()
    }
    corrected = holm(p_values)
    yes = [words for name, (_, words) in places.items() if corrected[name] <= level]
    no = [words for name, (_, words) in places.items() if corrected[name] > level]
    lines = []
    if yes:
        lines.append(f"The class of a text shows in {_listed(yes)}, beyond exchanged labels.")
    if no:
        lines.append(f"No measurable trace of the class of a text in {_listed(no)}.")
    if yes and not text["own_labels"]:
        lines.append(
            "These classes follow from the text itself, so that they show in any lattice that "
            "passes it on; the comparison with untrained lattices counts."
        )
    return lines


def _lesions(section: Mapping[str, Any]) -> list[str]:
    lines = []
    for kind, word in (
        ("expert", "experts"),
        ("edges", "edge types"),
        ("plane", "planes, numbered from the front,"),
    ):
        rows = [
            row
            for row in section["data"]["lesions"]
            if row["kind"] == kind and row["ablation"] == "resample" and row["interval"]
        ]
        needed = [row for row in rows if row["interval"][0] > 0]
        idle = [row["part"] for row in rows if row["interval"][0] <= 0]
        if not rows:
            continue
        needed.sort(key=lambda row: -row["value"])
        line = f"No {word} measurably cost the output when given another text"
        if needed:
            costs = _listed([f"{row['part']}: {_with_interval(row)}" for row in needed])
            line = f"Given another text, these {word} cost explained variance: {costs}"
        if idle and needed:
            line += f"; not measurably: {_listed(idle)}"
        lines.append(f"{line}.")
    return lines


def _agreement(found: Mapping[str, Any], level: float) -> list[str]:
    lines = []
    for name, what in (
        ("agreement_accuracy", "where probes read the class well"),
        ("agreement_selectivity", "where cells respond selectively, class by class"),
    ):
        null = found[name]["nulls"][0]
        verb = "agree with" if null["p_value"] <= level else "do not measurably agree with"
        lines.append(
            f"Lesions of blocks {verb} the maps of {what} (rank correlation "
            f"{found[name]['value']:.2f}, p = {null['p_value']:.3g})."
        )
    return lines


def _use(section: Mapping[str, Any]) -> list[str]:
    found = section["findings"]
    one = found["use_own_minus_others"]
    low, high = one["interval"] or (0.0, 0.0)
    than = "than the best cells for the other classes"
    verdict = f"do not measurably carry it better {than}"
    if low > 0 or high < 0:
        verdict = f"carry it {'better' if low > 0 else 'worse'} {than}"
    lines = [f"The best cells for a class {verdict}: {_with_interval(one)}."]
    twin = found["use_own_minus_others_untrained"]
    if low > 0 and twin["interval"]:
        inside = twin["interval"][1] >= low
        lines.append(
            "In an untrained lattice, which explains "
            f"{section['data']['whole_untrained']:.3f} with all cells, "
            f"the same difference is {_with_interval(twin)}"
            + (", so that training need not have made it." if inside else ", which is less.")
        )
    return lines


def _teacher(found: Mapping[str, Any]) -> str:
    one = found["cka_teacher_face"]
    low, high = one["interval"]
    return (
        f"The back face is similar to the teacher (debiased CKA {one['value']:.2f}, {low:.2f} to "
        f"{high:.2f}; permuted samples {one['nulls'][0]['mean']:.2f})."
    )


def _probes(section: Mapping[str, Any]) -> str:
    rows = {row["representation"]: row for row in section["data"]["probes"]}
    said = [
        f"{name} {rows[name]['accuracy']:.2f} (control task {rows[name]['control']:.2f})"
        for name in ("teacher", "back face", "output")
        if name in rows
    ]
    return (
        f"A linear probe finds the class with balanced accuracy {_listed(said)}; chance is "
        f"{section['data']['chance']:.2f}."
    )


def _damage(section: Mapping[str, Any]) -> list[str]:
    lines = []
    steps = section["data"]["trained_steps"]
    for at, rows in section["data"]["recovery"].items():
        trained = [row for row in rows if row["step"] <= steps]
        last = {"value": trained[-1]["lost"], "interval": trained[-1]["interval"]}
        lines.append(
            f"Erasing {section['data']['erased_cells']} cells after step {at} costs explained "
            f"variance at step {steps}: {_with_interval(last)}."
        )
    if "wall" in section["data"]:
        wall = section["data"]["wall"]
        lines.append(
            "Behind a wall with one open cell a readout fitted anew explains "
            f"{wall['refitted']['one_cell']:.3f} of the variance (closed wall "
            f"{wall['refitted']['closed']:.3f}, no wall {wall['refitted']['none']:.3f}; as many "
            f"principal components as one cell has channels: {wall['components']:.3f})."
        )
    return lines


def _with_interval(found: Mapping[str, Any]) -> str:
    interval = found["interval"]
    said = "" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})"
    return f"{found['value']:.3f}{said}"


def _listed(words: Sequence[str]) -> str:
    between = "; " if any("(" in word for word in words) else ", "
    return words[0] if len(words) == 1 else f"{between.join(words[:-1])} and {words[-1]}"
