from __future__ import annotations

import math

import pytest

from latticegraph.dashboard import RunHistory, findings
from tests.dashboard.conftest import log_of


def signs(records, going=False):
    return {one.name: one for one in findings(RunHistory("run", records, going))}


def test_a_run_that_learns_has_no_sign():
    assert signs(log_of()) == {}
    assert signs(log_of(validations=2, lines=6)) == {}
    assert signs(log_of()[:1]) == {"unfinished": signs(log_of()[:1])["unfinished"]}


def test_divergence_is_a_rising_loss_or_a_falling_score():
    rising = log_of(loss=lambda done: 1 - done if done < 0.5 else 0.5 + 2 * (done - 0.5))
    assert "the training loss is 1.75, it was 0.688" in signs(rising)["divergence"].seen
    falling = log_of(explained=lambda done: 0.6 - 0.2 * done)
    assert "0.400, it was 0.600" in signs(falling)["divergence"].seen
    assert signs(falling)["divergence"].level == "bad"
    # A loss that jumps because another phase has other terms is none.
    phases = [dict(row) for row in rising]
    for row in phases:
        if row["update"] > 200:
            row["phase"] = "second"
    assert "divergence" not in signs([row for row in phases if row["update"] < 320])


def test_warnings_of_the_latest_validation_alone_are_shown():
    text = "the local expert is all but unused (mean share 0.010, below 0.02); raise the weight"
    records = log_of(end=None)
    head = {"kind": "warning", "about": "dead_expert", "expert": "local", "message": text}
    old, new = (head | {"update": update} for update in (50, 400))
    assert "dead expert" not in signs([*records, old], going=True)
    found = signs([*records, new], going=True)["dead expert"]
    assert found.seen == text.split("; ")[0]
    assert found.action == "raise the weight"


@pytest.mark.parametrize(
    ("key", "value", "seen"),
    [
        ("effective_rank", 3.9, "vary in 3.9 directions, their targets in 40.0"),
        ("pairwise_cosine", 0.92, "mean cosine of 0.920, two targets 0.100"),
    ],
)
def test_few_directions_are_measured_against_the_teacher(key, value, seen):
    records = log_of()
    last = [row for row in records if row["kind"] == "validation"][-1]
    last["spread"] = last["spread"] | {key: value}
    assert seen in signs(records)["few directions"].seen


def test_stalled_loss_needs_a_flat_loss_and_no_gain():
    def flat(done):
        return 0.7 + 1e-4 * math.sin(50 * done)

    assert "stalled loss" in signs(log_of(loss=flat, explained=lambda done: 0.01))
    assert "stalled loss" not in signs(log_of(loss=flat))
    assert "stalled loss" not in signs(log_of(explained=lambda done: 0.01))


def test_plateau_and_past_its_best_are_told_apart():
    flat = signs(log_of(explained=lambda done: 0.5 + min(done, 0.4)))
    assert flat["plateau"].level == "note"
    assert "past its best" not in flat
    over = signs(log_of(explained=lambda done: 0.5 + min(done, 0.4) - 0.05 * max(0, done - 0.4)))
    assert set(over) == {"past its best"}
    assert "was 0.8950 4 validations ago and is 0.8700" in over["past its best"].seen


def test_component_without_gradient_is_named():
    records = log_of()
    for row in records:
        if row["kind"] == "train":
            row["grad_norm"] = row["grad_norm"] | {"mapper": 0.0, "volume": None}
    assert signs(records)["no gradient"].seen == "the gradient of mapper is exactly 0"


def test_killed_run_is_unfinished_only_where_nobody_trains():
    records = log_of(end=None)[:-8]
    assert "update 350 of 400" in signs(records)["unfinished"].seen
    assert "unfinished" not in signs(records, going=True)
    assert "unfinished" not in signs(log_of(end="early"))
