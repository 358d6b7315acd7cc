"""Information in gates: closed forms, and a null that is one."""

from __future__ import annotations

import numpy as np
import pytest

from latticegraph.errors import DataError
from latticegraph.evaluation import gate_information

GROUPS = ["a"] * 20 + ["b"] * 20


def gates(first_SN: np.ndarray) -> np.ndarray:
    """Two experts, the first with the given share. Shapes: [S, N] to [S, N, 2]."""
    return np.stack([first_SN, 1 - first_SN], axis=2)


def test_an_expert_per_group_is_one_bit() -> None:
    found = gate_information(gates(np.repeat([[1.0], [0.0]], 20, axis=0)), GROUPS)
    assert found.value == pytest.approx(1.0, abs=1e-12)
    assert found.null < 0.1 < found.value
    assert found.p_value == pytest.approx(1 / 201)


def test_the_mean_is_over_cells_and_groups_count_by_size() -> None:
    # Cell 0 tells the groups apart, cell 1 does not; 10 of 40 samples are in the second group.
    first_SN = np.stack([np.repeat([1.0, 0.0], [30, 10]), np.full(40, 0.5)], axis=1)
    found = gate_information(gates(first_SN), ["a"] * 30 + ["b"] * 10)
    entropy = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert found.value == pytest.approx(entropy / 2, abs=1e-12)


def test_constant_gates_tell_nothing() -> None:
    found = gate_information(gates(np.full((40, 3), 0.3)), GROUPS)
    assert found.value == pytest.approx(0.0, abs=1e-12)
    assert found.p_value == 1.0


def test_groups_of_one_sample_leave_nothing_to_permute() -> None:
    random = np.random.default_rng(0)
    found = gate_information(gates(random.random((40, 3))), range(40))
    assert found.value == pytest.approx(found.null, abs=1e-9)
    assert found.p_value == 1.0


def test_order_of_the_samples_does_not_matter() -> None:
    random = np.random.default_rng(0)
    all_gates, order = gates(random.random((40, 3))), random.permutation(40)
    one = gate_information(all_gates, GROUPS)
    other = gate_information(all_gates[order], [GROUPS[index] for index in order])
    assert one.value == pytest.approx(other.value, abs=1e-12)


def test_false_positives_stay_below_the_level() -> None:
    """Gates that know nothing of the groups: at most 5% significant, within chance over 200."""
    random = np.random.default_rng(1)
    p_values = [
        gate_information(gates(random.random((40, 2))), GROUPS, seed=seed, permutations=60).p_value
        for seed in range(200)
    ]
    assert np.mean(np.array(p_values) < 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert 0.4 < np.mean(p_values) < 0.6


def test_one_group_per_sample_is_required() -> None:
    with pytest.raises(DataError, match="expected one group per sample"):
        gate_information(gates(np.full((3, 2), 0.5)), ["a"])


def test_a_large_group_weighs_more_than_a_small_one() -> None:
    # Within the large group the gates are even (1 bit left), within the small one certain.
    first_SN = np.repeat([0.5, 1.0], [30, 10])[:, None]
    found = gate_information(gates(first_SN), ["a"] * 30 + ["b"] * 10)
    share = 0.75 * 0.5 + 0.25
    total = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
    assert found.value == pytest.approx(total - 0.75, abs=1e-12)
