"""Pooling against values by hand."""

from __future__ import annotations

import pytest
import torch

from latticegraph.teachers.pooling import Pooling, pool

STATES_BLD = torch.tensor([[[3.0, 0.0], [1.0, 4.0], [9.0, 9.0]], [[0.0, 2.0], [0.0, 4.0], [0, 6]]])
MASK_BL = torch.tensor([[1, 1, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    ("pooling", "normalize", "expected"),
    [
        ("mean", False, [[2.0, 2.0], [0.0, 4.0]]),
        ("mean", True, [[0.5**0.5, 0.5**0.5], [0.0, 1.0]]),
        ("cls", False, [[3.0, 0.0], [0.0, 2.0]]),
        ("cls", True, [[1.0, 0.0], [0.0, 1.0]]),
    ],
)
def test_pool_equals_the_value_by_hand(
    pooling: Pooling, normalize: bool, expected: list[list[float]]
) -> None:
    torch.testing.assert_close(
        pool(STATES_BLD, MASK_BL, pooling, normalize), torch.tensor(expected)
    )
