"""The sentences of the summary follow from the p-values and intervals."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from latticegraph.analysis.section_twins import (
    OTHERS,
    SPECIALISATION,
    compare_with_twins,
    omnibus,
)
from latticegraph.analysis.summary import holm, summary


def null(p, mean=0.0):
    return {"kind": "chance", "mean": mean, "low": -1.0, "high": 1.0, "p_value": p, "count": 19}


def finding(value, p=0.5, interval=None):
    return {"title": "t", "value": value, "interval": interval, "nulls": [null(p)]}


def lesion(kind, part, low, high):
    row = {"kind": kind, "part": part, "ablation": "resample"}
    return row | {"value": (low + high) / 2, "interval": [low, high]}


@pytest.fixture
def result():
    """Nothing to be found."""
    specialised = {name: finding(1.0) for name in ("specialisation", *SPECIALISATION)}
    return {
        "level": 0.05,
        "text": {"own_labels": False},
        "sections": {
            "training": {"findings": specialised},
            "experts": {"findings": {"gate_information": finding(0.1)}},
            "cells": {
                "findings": {
                    n: finding(0.5) for n in ("selectivity_largest", "cell_accuracy_largest")
                }
            },
            "lesions": {
                "data": {
                    "lesions": [
                        lesion("expert", "local", -0.1, 0.1),
                        lesion("plane", "3", 0.2, 0.4),
                        lesion("plane", "0", -0.1, 0.0),
                    ]
                },
                "findings": {
                    n: finding(0.1) for n in ("agreement_accuracy", "agreement_selectivity")
                },
            },
            "use": {
                "data": {"whole_untrained": 0.3},
                "findings": {
                    "use_own_minus_others": finding(0.01, interval=[-0.02, 0.03]),
                    "use_own_minus_others_untrained": finding(0.01, interval=[0.0, 0.02]),
                },
            },
            "layers": {"findings": {"cka_teacher_face": finding(0.7, 0.01, [0.6, 0.8])}},
            "probes": {
                "data": {
                    "chance": 0.5,
                    "probes": [{"representation": "teacher", "accuracy": 0.9, "control": 0.6}],
                }
            },
            "damage": {
                "data": {
                    "trained_steps": 2,
                    "erased_cells": 8,
                    "recovery": {"1": [{"step": 2, "lost": 0.1, "interval": [0.0, 0.2]}]},
                }
            },
        },
    }


def test_nothing_measurable_is_said_to_be_nothing(result):
    lines = summary(result)
    assert lines[0].startswith("No measurable specialisation")
    assert "19 untrained lattices (p = 0.5)" in lines[0]
    assert lines[1].startswith("No measurable trace of the class of a text in which expert a cell")
    assert lines[2] == "No experts measurably cost the output when given another text."
    assert "3: 0.300 (0.200 to 0.400); not measurably: 0." in lines[3]
    assert sum("do not measurably agree with" in line for line in lines) == 2
    assert any("do not measurably carry it better" in line for line in lines)


def test_each_sentence_turns_with_its_own_number(result):
    before = summary(result)
    changes = [
        (("training", "findings", "specialisation"), "Training made experts and cells more"),
        (("lesions", "findings", "agreement_accuracy"), "agree with the maps of where probes"),
        (("experts", "findings", "gate_information"), "shows in which expert a cell uses"),
    ]
    for path, sentence in changes:
        changed = copy.deepcopy(result)
        place = changed["sections"]
        for key in path:
            place = place[key]
        place["nulls"] = [null(0.01)]
        after = summary(changed)
        assert any(sentence in line for line in after)
        assert not any(sentence in line and "not" not in line for line in before)
    changed = copy.deepcopy(result)
    changed["sections"]["use"]["findings"]["use_own_minus_others"]["interval"] = [0.01, 0.03]
    lines = summary(changed)
    assert any("for a class carry it better" in line for line in lines)
    assert any("so that training need not have made it" in line for line in lines)
    changed["sections"]["use"]["findings"]["use_own_minus_others"]["interval"] = [0.03, 0.04]
    assert any("0.020), which is less" in line for line in summary(changed))


def test_single_statistics_are_named_only_behind_the_gate(result):
    result["sections"]["training"]["findings"]["selectivity"] = finding(0.3, 0.01)
    assert "selectivity" not in summary(result)[0]
    result["sections"]["training"]["findings"]["specialisation"] = finding(2.0, 0.05)
    assert "mean size of the selectivity index of cells 0.3" in summary(result)[0]


def test_three_traces_are_corrected_for_their_number(result):
    result["sections"]["experts"]["findings"]["gate_information"] = finding(0.1, 0.03)
    assert not any("shows in" in line for line in summary(result))
    assert holm({"a": 0.01, "b": 0.5}) == {"a": 0.02, "b": 0.5}


def test_one_score_is_fair_between_twins_and_sees_a_common_shift():
    random = np.random.default_rng(0)
    values = random.normal(size=(400, 20, 5)) * [1, 10, 100, 1, 1]
    first = np.array([(omnibus(one).argmax() == 0) for one in values])
    assert first.mean() == pytest.approx(0.05, abs=0.03)
    values[:, 0] += [2, 20, 200, 2, 2]
    assert np.mean([omnibus(one).argmax() == 0 for one in values]) > 0.9


def test_a_statistic_beside_its_twins():
    random = np.random.default_rng(0)
    names = [*SPECIALISATION, *OTHERS]
    twins = [dict(zip(names, row, strict=True)) for row in random.normal(size=(19, len(names)))]
    own = dict.fromkeys(names, 9.0)
    found = {one.name: one for one in compare_with_twins(own, twins)}
    assert found["specialisation"].nulls[0].p_value == pytest.approx(0.05)
    assert found["selectivity"].nulls[0].p_value == pytest.approx(0.05)
    assert found["face_dimension"].nulls[0].p_value == pytest.approx(0.1)  # two-sided
