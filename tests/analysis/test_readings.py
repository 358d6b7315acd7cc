"""Probes, control tasks, description length, composition and damage have their known answers."""

from __future__ import annotations

import numpy as np
import pytest

from latticegraph.analysis.composition import composition, parts_of_text
from latticegraph.analysis.damage import middle_block, one_cell_wall, recovery, wall
from latticegraph.analysis.null import LabelPermutations
from latticegraph.analysis.probes import code_length, control_labels, probe
from latticegraph.evaluation import EmbeddingSplit
from tests.analysis.conftest import embeddings

SAMPLES = 240
HALF_S = np.arange(SAMPLES) // 6 % 2
GROUPS = [f"g{s // 6}" for s in range(SAMPLES)]
CODE_S = np.arange(SAMPLES) % 3


def orders():
    return LabelPermutations(CODE_S.tolist(), GROUPS, count=39)


def labelled(strength):
    random = np.random.default_rng(0)
    x = random.normal(size=(SAMPLES, 20))
    x[np.arange(SAMPLES), CODE_S] += strength
    return x


def test_probe_finds_what_is_there_and_chance_where_nothing_is():
    found = probe(labelled(6.0), CODE_S, HALF_S, orders(), dimension=20)
    assert found.accuracy > 0.97
    assert found.null_P.mean() == pytest.approx(1 / 3, abs=0.03)
    none = probe(labelled(0.0), CODE_S, HALF_S, orders(), dimension=20)
    assert none.accuracy < np.quantile(none.null_P, 0.995)
    assert none.right_S.mean() == pytest.approx(1 / 3, abs=0.1)


def test_probe_of_few_components_sees_large_directions_alone():
    x = labelled(6.0) * 0.1
    x[:, 10:13] = 50 * np.random.default_rng(1).normal(size=(SAMPLES, 3))
    assert probe(x, CODE_S, HALF_S, orders(), dimension=3).accuracy < 0.5
    assert probe(x, CODE_S, HALF_S, orders(), dimension=20).accuracy > 0.9


def test_control_labels_belong_to_types_and_keep_the_shares():
    types = [s // 5 for s in range(SAMPLES)]
    code_S = (np.arange(SAMPLES) % 4 == 0).astype(np.int64)
    control_S = control_labels(types, code_S)
    assert len(set(zip(types, control_S.tolist(), strict=True))) == 48
    assert control_S.mean() == pytest.approx(0.25, abs=0.08)
    assert not np.array_equal(control_S, control_labels(types, code_S, seed=1))


def test_control_task_is_solved_by_memory_of_types_alone():
    random = np.random.default_rng(0)
    types = random.integers(0, 12, size=SAMPLES)
    control_S = control_labels(types.tolist(), CODE_S)
    memory = np.eye(12)[types] + 0.1 * random.normal(size=(SAMPLES, 12))
    permuted = LabelPermutations(control_S.tolist(), GROUPS, count=19)
    assert probe(memory, control_S, HALF_S, permuted).accuracy > 0.95
    assert probe(labelled(6.0), control_S, HALF_S, permuted).accuracy < 0.5


def test_description_is_short_where_the_class_is_plain_and_uniform_where_it_is_not():
    order_S = np.arange(SAMPLES)
    plain, clear, none = (code_length(labelled(s), CODE_S, order_S) for s in (12.0, 4.0, 0.0))
    first = 15 / SAMPLES * np.log2(3)  # nothing is known of the first portion
    assert first < plain < clear < none
    assert plain == pytest.approx(first, abs=0.15)
    assert none > np.log2(3) - 0.1


def test_sums_of_parts_are_explained_and_shuffled_parts_are_not():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, SAMPLES, 6))
    whole = a @ random.normal(size=(6, 6)) + b @ random.normal(size=(6, 6))
    value, one_P, both_P = composition(a, b, whole, HALF_S, permutations=9)
    assert value > 0.98
    assert one_P.mean() == pytest.approx(0.5, abs=0.15)
    assert both_P.max() < 0.05
    product, _, _ = composition(a, b, a * b, HALF_S, permutations=1)
    assert product < 0.05


def test_texts_are_divided_at_the_middle_word():
    assert parts_of_text("one two three") is None
    assert parts_of_text(" a  b c d ") == ("a b", "c d")


def test_damage_of_the_output_is_total_and_of_nothing_is_none(model, heldout, groups, train_mean_D):
    face = model.graph.output_cells.tolist()
    late, early = (recovery(model, heldout, groups, train_mean_D, face, at, 4) for at in (4, 2))
    assert [row["step"] for row in early] == [2, 3, 4]
    assert late[0]["explained_variance"] == pytest.approx(early[-1]["explained_variance"])
    assert late[0]["lost"] > 0.2
    assert abs(early[-1]["lost"]) < 0.5 * late[0]["lost"]
    for row in (*early, *late):
        assert row["interval"][0] <= row["lost"] <= row["interval"][1]
    never = recovery(model, heldout, groups, train_mean_D, [], 2, 4)
    assert [row["lost"] for row in never] == pytest.approx([0.0] * 3, abs=1e-5)


def test_damage_far_from_the_face_arrives_later(model, heldout, groups, train_mean_D):
    second = np.flatnonzero(model.graph.depth_N.numpy() == 1).tolist()
    lost = [row["lost"] for row in recovery(model, heldout, groups, train_mean_D, second, 1, 4)]
    assert lost[:3] == pytest.approx([0.0] * 3, abs=1e-5)
    assert abs(lost[3]) > 1e-4
    place_N3 = model.graph.coordinates_N3.numpy()[middle_block(model.graph)]
    assert place_N3.tolist() == [[1, y, z] for y in (1, 2) for z in (1, 2)]


def test_text_passes_one_cell_and_no_closed_wall(model, heldout, train_mean_D):
    fit = EmbeddingSplit.of("fit", embeddings(200, seed=6), embeddings(200, seed=6))
    closed, opening = wall(model.graph)
    depth_N = model.graph.depth_N
    assert set(depth_N[closed].tolist()) == {2}
    assert len(closed) == 11
    assert int(depth_N[opening]) == 2
    found = one_cell_wall(model, fit, heldout)
    refitted = found["refitted"]
    assert refitted["closed"] == pytest.approx(
        1
        - np.square(heldout.target_ND - fit.target_ND.mean(0)).sum()
        / np.square(heldout.target_ND - fit.target_ND.mean(0)).sum(),
        abs=1e-9,
    )
    assert refitted["closed"] < refitted["one_cell"] < refitted["none"]
    assert refitted["one_cell"] < found["components"] + 0.05
    assert found["own"]["none"] > found["own"]["one_cell"]
