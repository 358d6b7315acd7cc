from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import as_float64, check_same_shape, checked_prediction

Floats = NDArray[np.float64]


def test_as_float64_takes_tensors_with_gradient() -> None:
    tensor = torch.tensor([[1.5, 2.0]], dtype=torch.bfloat16, requires_grad=True)
    array = as_float64("x", tensor)
    assert array.dtype == np.float64
    assert array.tolist() == [[1.5, 2.0]]


@pytest.mark.parametrize("value", [np.zeros(3), np.zeros((0, 3)), np.zeros((1, 2, 3))])
def test_as_float64_rejects_shapes(value: Floats) -> None:
    with pytest.raises(
        DataError, match=r"x: expected a non-empty array of 2 dimensions, got shape"
    ):
        as_float64("x", value)


def test_as_float64_counts_what_is_not_finite() -> None:
    value = np.array([[1.0, np.nan], [np.inf, 0.0]])
    with pytest.raises(DataError, match="expected finite numbers, got 2 that are NaN or infinite"):
        as_float64("x", value)


def test_check_same_shape_names_both() -> None:
    with pytest.raises(DataError, match=r"a: expected the shape of b \(3, 2\), got \(2, 2\)"):
        check_same_shape("a", np.zeros((2, 2)), "b", np.zeros((3, 2)))


def test_checked_prediction_rejects_mean_of_other_width() -> None:
    with pytest.raises(DataError, match=r"train_mean: expected the width of target \(2\), got 3"):
        checked_prediction(np.zeros((2, 2)), np.zeros((2, 2)), np.zeros(3))
