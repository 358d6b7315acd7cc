"""A planted division of labour is found where it was planted, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from latticegraph.analysis.expert_use import (
    class_gates,
    divergence,
    domain_ratio,
    permuted_ratio,
)
from latticegraph.analysis.null import LabelPermutations
from latticegraph.analysis.specialisation import (
    CellProbes,
    response,
    selectivity_index,
    selectivity_map,
)
from latticegraph.errors import DataError

SAMPLES, SIDES, CHANNELS = 160, (3, 4, 6), 3
CELLS = 72
GROUPS = [f"g{s // 4}" for s in range(SAMPLES)]
CODE_S = np.arange(SAMPLES) % 2
HALF_S = np.arange(SAMPLES) // 4 % 2


@pytest.fixture
def orders():
    return list(LabelPermutations(CODE_S.tolist(), GROUPS, count=99))


def divided_cube(strength=2.0):
    """States whose left half (first three along the last axis) moves for class 0, right for 1."""
    random = np.random.default_rng(0)
    left_N = np.indices(SIDES)[2].ravel() < 3
    size_SN = np.where(left_N == (CODE_S == 0)[:, None], strength, 1.0)
    states = random.normal(size=(SAMPLES, CELLS, CHANNELS)) * size_SN[:, :, None]
    return states.astype(np.float32), left_N


def test_halves_that_respond_to_one_class_each_are_mapped_so(orders):
    states_SNC, left_N = divided_cube()
    found = selectivity_map(response(states_SNC), CODE_S, orders)
    assert (found.value_KN[0, left_N] > 0).all()
    assert (found.value_KN[0, ~left_N] < 0).all()
    np.testing.assert_allclose(found.value_KN[0], -found.value_KN[1], atol=1e-12)
    np.testing.assert_allclose(found.value_KN[0].mean(where=left_N), 1 / 3, atol=0.02)
    assert (found.p_KN <= 0.05).all()


def test_a_cube_that_treats_classes_alike_has_no_selective_cell(orders):
    states_SNC, _ = divided_cube(strength=1.0)
    found = selectivity_map(response(states_SNC), CODE_S, orders)
    assert (found.p_KN > 0.05).all()
    assert np.abs(found.value_KN).mean() == pytest.approx(found.null_P.mean(), rel=0.2)


def test_selectivity_by_hand():
    response_SN = np.array([[3.0, 0.0], [1.0, 0.0], [2.0, 0.0], [6.0, 0.0]])
    index_KN = selectivity_index(response_SN, np.array([0, 0, 1, 2]), 3)
    np.testing.assert_allclose(index_KN, [[-1 / 3, 0], [-1 / 3, 0], [0.5, 0]])
    np.testing.assert_allclose(
        response(np.array([[[1.0, 0.0]], [[3.0, 0.0]]])), np.sqrt([[0.5]] * 2)
    )


def test_probes_read_the_class_in_the_cells_that_hold_it(orders):
    random = np.random.default_rng(0)
    states_SNC = random.normal(size=(SAMPLES, CELLS, CHANNELS))
    states_SNC[:, 10:15, 1] += 3.0 * CODE_S[:, None]
    found = CellProbes(states_SNC, HALF_S).map(CODE_S, orders)
    assert np.flatnonzero(found.p_KN[0] <= 0.05).tolist() == [10, 11, 12, 13, 14]
    # Means three deviations apart: the best possible accuracy is Phi(1.5).
    assert found.value_KN[0, 10:15].mean() == pytest.approx(0.933, abs=0.03)
    assert np.delete(found.value_KN[0], range(10, 15)).mean() == pytest.approx(0.5, abs=0.03)
    assert found.null_P.mean() == pytest.approx(0.5, abs=0.02)


def test_probes_are_balanced_and_cells_without_text_know_nothing():
    random = np.random.default_rng(0)
    code_S = (np.arange(SAMPLES) % 5 == 0).astype(np.int64)
    states_SNC = random.normal(size=(SAMPLES, 4, CHANNELS))
    states_SNC[:, 1] = 0.3
    states_SNC[:, 2, 0] += 9.0 * code_S
    accuracy_N = CellProbes(states_SNC, HALF_S).accuracy(code_S)
    assert accuracy_N[1] == 0.5
    assert accuracy_N[2] == pytest.approx(1.0, abs=0.02)
    assert accuracy_N[0] == pytest.approx(0.5, abs=0.15)


def test_probes_need_two_groups():
    with pytest.raises(DataError, match="expected samples of at least two groups"):
        CellProbes(np.zeros((4, 2, 2)), np.zeros(4, dtype=np.int64))


def planted_gates(shift):
    """Three experts; class 1 takes ``shift`` more of the first in half of the cells."""
    random = np.random.default_rng(0)
    gates = 1 / 3 + 0.02 * random.normal(size=(2, SAMPLES, CELLS, 3))
    gates[:, CODE_S == 1, : CELLS // 2, 0] += shift
    gates[:, CODE_S == 1, : CELLS // 2, 1] -= shift
    return gates


def test_gates_that_follow_the_class_are_found_in_size(orders):
    gates = planted_gates(0.2)
    mean_TKNX = class_gates(gates, CODE_S)
    np.testing.assert_allclose(mean_TKNX[:, 1, 0, 0], 0.533, atol=0.01)
    np.testing.assert_allclose(divergence(gates, CODE_S)[:, : CELLS // 2], 0.1, atol=0.01)
    assert divergence(gates, CODE_S)[:, CELLS // 2 :].max() < 0.02
    value, null_P = permuted_ratio(gates, CODE_S, orders)
    # The second expert: 1/3 for class 0, 0.233 for class 1, means over both halves of the cells.
    assert value == pytest.approx(0.3333 / ((0.3333 + 0.2333) / 2), rel=0.01)
    assert value == domain_ratio(gates, CODE_S)
    assert value > null_P.max()


def test_gates_that_ignore_the_class_are_within_chance(orders):
    value, null_P = permuted_ratio(planted_gates(0.0), CODE_S, orders)
    assert value < np.quantile(null_P, 0.99)
