"""Checked float64 copies of embeddings.

Legend: B samples, D teacher width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from latticegraph.errors import DataError

Floats = NDArray[np.float64]
ArrayOrTensor = NDArray[np.floating] | Tensor


def as_float64(name: str, value: ArrayOrTensor, dimensions: int = 2) -> Floats:
    """``value`` as a float64 array on the CPU.

    Args:
        name: what the array is, for the message.
        value: array or tensor (any device, gradient dropped).
        dimensions: expected number of dimensions.

    Raises:
        DataError: for another number of dimensions, an empty array, or a value that is no finite
            number.
    """
    if isinstance(value, Tensor):
        value = value.detach().double().cpu().numpy()
    array: Floats = np.asarray(value, dtype=np.float64)
    if array.ndim != dimensions or array.size == 0:
        raise DataError(
            name,
            f"expected a non-empty array of {dimensions} dimensions, got shape {array.shape}",
            "Pass one row per sample and one column per dimension",
        )
    if not np.isfinite(array).all():
        bad = int(np.size(array) - np.isfinite(array).sum())
        raise DataError(
            name,
            f"expected finite numbers, got {bad} that are NaN or infinite",
            "Find the step that diverged; a lower learning rate often helps",
        )
    return array


def check_same_shape(name: str, array: Floats, other_name: str, other: Floats) -> None:
    """Raise unless both arrays have one shape.

    Raises:
        DataError: naming both shapes.
    """
    if array.shape != other.shape:
        raise DataError(
            name,
            f"expected the shape of {other_name} {other.shape}, got {array.shape}",
            "Pass one prediction per target, of the same width",
        )


def checked_prediction(
    prediction_BD: ArrayOrTensor, target_BD: ArrayOrTensor, train_mean_D: ArrayOrTensor
) -> tuple[Floats, Floats, Floats]:
    """Predictions, targets and training mean in float64, of shapes that belong together.

    Shapes:
        prediction_BD, target_BD: [B, D]; train_mean_D: [D].

    Raises:
        DataError: for shapes that do not match, empty arrays, or NaN.
    """
    prediction = as_float64("prediction", prediction_BD)
    target = as_float64("target", target_BD)
    check_same_shape("prediction", prediction, "target", target)
    mean_D = as_float64("train_mean", train_mean_D, dimensions=1)
    if mean_D.shape[0] != target.shape[1]:
        raise DataError(
            "train_mean",
            f"expected the width of target ({target.shape[1]}), got {mean_D.shape[0]}",
            "Pass the mean of the training embeddings of the same teacher",
        )
    return prediction, target, mean_D
