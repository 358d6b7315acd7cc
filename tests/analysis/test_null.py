"""Permutations respect groups, p-values are valid, intervals cover."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from latticegraph.analysis.null import (
    LabelPermutations,
    Null,
    codes_of,
    family_wise,
    group_blocks,
    group_order,
    jackknife,
    p_value,
)
from latticegraph.errors import DataError


def test_p_value_counts_the_measured_order():
    null_P = np.arange(99.0)
    assert p_value(98.5, null_P) == pytest.approx(0.01)
    assert p_value(98.0, null_P) == pytest.approx(0.02)
    assert p_value(-1.0, null_P) == 1.0
    assert p_value(-1.0, null_P, "two-sided") == pytest.approx(0.02)
    assert p_value(49.0, null_P, "two-sided") == 1.0
    assert Null.of("chance", 98.5, null_P).p_value == pytest.approx(0.01)


def test_p_values_of_chance_are_uniform():
    random = np.random.default_rng(0)
    found = np.array([p_value(*split(random.normal(size=20))) for _ in range(2000)])
    for level in (0.05, 0.25, 0.5):
        assert (found <= level + 1e-9).mean() == pytest.approx(level, abs=0.03)


def split(values):
    return values[0], values[1:]


def test_family_wise_p_values_are_rare_among_many_places():
    random = np.random.default_rng(0)
    significant = [
        (family_wise(values[0], values[1:]) <= 0.05).any()
        for values in random.normal(size=(300, 40, 200))
    ]
    assert np.mean(significant) == pytest.approx(0.05, abs=0.035)
    values = random.normal(size=(40, 200))
    values[0, 7] = 9.0
    assert np.flatnonzero(family_wise(values[0], values[1:]) <= 0.05).tolist() == [7]


def test_labels_of_whole_groups_move_together():
    groups = [f"g{i // 5}" for i in range(40)]
    labels = ["a" if i < 20 else "b" for i in range(40)]
    orders = LabelPermutations(labels, groups, count=50)
    assert orders.kind == "labels exchanged between groups"
    changed = 0
    for order_S in orders:
        parts = order_S.reshape(8, 5)
        assert (parts == parts[:, :1]).all()
        assert Counter(parts[:, 0].tolist()) == {0: 4, 1: 4}
        changed += not np.array_equal(order_S, orders.code_S)
    assert changed > 40


def test_labels_that_differ_inside_groups_stay_in_them():
    groups = ["g", "g", "h", "h", "i", "j"]
    labels = [0, 1, 1, 1, 0, 1]
    orders = LabelPermutations(labels, groups, count=60)
    assert orders.kind == "labels exchanged within groups"
    seen = {tuple(order.tolist()) for order in orders}
    first, second = {(0, 1), (1, 0)}, {(0, 1), (1, 0)}
    assert seen == {(*a, 1, 1, *b) for a in first for b in second}


@pytest.mark.parametrize(
    ("labels", "groups"), [(["a", "a"], ["x", "y"]), (["a", "b"], ["x", "x", "y"])]
)
def test_nothing_to_exchange_is_an_error(labels, groups):
    with pytest.raises(DataError, match=r"^(labels|groups): expected"):
        LabelPermutations(labels, groups)


def test_codes_follow_the_order_of_names():
    code_S, kinds = codes_of(["b", "c", "a", "b"])
    assert (code_S.tolist(), kinds) == ([1, 2, 0, 1], ["a", "b", "c"])


def test_blocks_hold_whole_groups_of_about_one_size():
    groups = [f"g{i % 13}" for i in range(130)]
    block_S = group_blocks(groups, 4)
    assert len({(g, b) for g, b in zip(groups, block_S.tolist(), strict=True)}) == 13
    assert np.ptp(np.bincount(block_S)) <= 10


def test_groups_follow_one_another_in_an_order_that_is_not_their_size():
    groups = [f"g{i % 5}" for i in range(20)] + ["big"] * 30
    order_S = group_order(groups)
    assert sorted(order_S.tolist()) == list(range(50))
    met = [groups[s] for s in order_S]
    assert sum(one != two for one, two in pairwise(met)) == 5
    firsts = {groups[group_order(groups, seed)[0]] for seed in range(30)}
    assert len(firsts) == 6


def test_jackknife_of_a_mean_is_its_closed_form_and_covers():
    random = np.random.default_rng(1)
    x = random.normal(size=40)
    value, low, high = jackknife(lambda s: float(x[s].mean()), np.arange(40))
    error = x.std(ddof=1) / np.sqrt(40)
    assert value == pytest.approx(x.mean())
    assert (high - low) / 2 == pytest.approx(2.0226909 * error, rel=1e-6)
    covered = 0
    for _ in range(300):
        group = random.normal(size=30)
        y = np.repeat(group, 3) + 0.1 * random.normal(size=90)
        blocks = group_blocks(np.repeat(np.arange(30), 3).tolist())
        _, low, high = jackknife(lambda s, y=y: float(y[s].mean()), blocks)
        covered += low <= 0 <= high
    assert covered / 300 == pytest.approx(0.95, abs=0.04)
