"""Sentences that follow from the intervals and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from latticegraph.evaluation import best_update, verdicts
from latticegraph.evaluation.verdicts import signed
from tests.evaluation.conftest import difference


def test_verdicts_follow_from_the_intervals(report: dict[str, Any]) -> None:
    assert verdicts(report) == [
        "Training adds +0.020 [+0.010, +0.030] explained variance to the untrained start.",
        "No measurable contribution of the trained lattice: -0.001 [-0.011, +0.009] against the "
        "same model with frozen experts and gates.",
        "No measurable difference between the student and random features of a PCA code: +0.010 "
        "[-0.010, +0.030].",
        "The student is behind a decoder network of the same size without a lattice: -0.060 "
        "[-0.070, -0.050].",
        "The student beats PCA: +0.100 [+0.090, +0.110] explained variance.",
        "The student does not beat the MLP autoencoder: -0.050 [-0.060, -0.040] explained "
        "variance.",
        "The student beats the same model retrained without the lattice: +0.050 [+0.040, +0.060] "
        "explained variance.",
        "The gates tell groups of texts apart: 0.0123 bits about the group, 0.0045 where groups "
        "are permuted (p = 0.005).",
        "Silencing the local expert costs +0.100 [+0.090, +0.110] explained variance.",
        "Silencing the distant expert makes no measurable difference: +0.001 [-0.009, +0.011].",
    ]


def test_gates_that_reach_only_their_null_tell_nothing(report: dict[str, Any]) -> None:
    report["roles"]["gates"] |= {"bits": 0.004, "p_value": 0.6}
    silenced = report["roles"]["experts"]["distant"]["silenced"]
    silenced["difference"] = {"explained_variance": -0.1, "low": -0.2, "high": -0.05}
    *_, gates, _, distant = verdicts(report)
    assert gates.startswith("The gates do not measurably tell groups of texts apart")
    assert distant.startswith("The model explains more with the distant expert silenced: -0.100")


def test_without_a_lattice_nothing_is_said_of_experts(report: dict[str, Any]) -> None:
    report["roles"] = {}
    assert not [line for line in verdicts(report) if "expert" in line and "frozen" not in line]


@pytest.mark.parametrize(
    ("value", "half", "says"),
    [
        (0.023, 0.005, "Training the lattice adds +0.023 [+0.018, +0.028] explained variance"),
        (
            0.023,
            0.024,
            "No measurable contribution of the trained lattice: +0.023 [-0.001, +0.047]",
        ),
        (-0.0003, 0.002, "No measurable contribution of the trained lattice: -0.0003 [-0.002,"),
        (-0.02, 0.005, "Training the lattice costs explained variance: -0.020 [-0.025, -0.015]"),
    ],
)
def test_verdict_on_the_lattice_needs_an_interval_without_zero(
    report: dict[str, Any], value: float, half: float, says: str
) -> None:
    report["attribution"]["frozen_lattice"]["difference"] = difference(value, half)
    assert verdicts(report)[1].startswith(says)
    # The scores alone decide nothing.
    report["student"]["explained_variance"] = -5.0
    assert verdicts(report)[1].startswith(says)


@pytest.mark.parametrize(("samples", "groups"), [(99, 50), (5000, 9)])
def test_few_samples_or_groups_give_no_verdict(
    report: dict[str, Any], samples: int, groups: int
) -> None:
    report["heldout"] = {"samples": samples, "groups": groups}
    assert verdicts(report) == [
        f"No verdict: {samples:,} held-out samples in {groups} groups are too few (at least 100 "
        "samples in 10 groups are needed)."
    ]
    report["heldout"] = {"samples": 100, "groups": 10}
    assert len(verdicts(report)) == 10


def test_report_without_attribution_still_compares(report: dict[str, Any]) -> None:
    report["attribution"] = report["roles"] = {}
    assert [line.split(" [")[0] for line in verdicts(report)] == [
        "The student beats PCA: +0.100",
        "The student does not beat the MLP autoencoder: -0.050",
        "The student beats the same model retrained without the lattice: +0.050",
    ]


def test_update_0_is_said_plainly(report: dict[str, Any]) -> None:
    assert best_update(report) == "Best on validation: update 1,068 of 2,400."
    report["training"]["best_update"] = 0
    assert best_update(report).startswith("No update improved on the start: ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0235, "+0.024"),
        (-0.0005, "-0.001"),
        (0.00049, "+0.0005"),
        (-0.00004, "-0.00004"),
        (2e-6, "+0.000002"),
        (0.0, "0.000"),
        (-1.5, "-1.500"),
    ],
)
def test_signed_never_rounds_a_difference_away(value: float, text: str) -> None:
    assert signed(value) == text
