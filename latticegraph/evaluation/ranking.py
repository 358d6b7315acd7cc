"""At which place a prediction finds its own target.

Legend: B samples, D teacher width, U distinct targets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from latticegraph.evaluation.arrays import ArrayOrTensor, Floats, checked_prediction

_BLOCK_NUMBERS = 4_000_000  # 32 MB of similarities at a time


def unit_rows(array_BD: Floats) -> Floats:
    """Rows scaled to length 1; a row of zeros stays zero.

    Shapes:
        array_BD: [B, D]; result: [B, D].
    """
    length_B1 = np.linalg.norm(array_BD, axis=1, keepdims=True)
    unit_BD: Floats
    unit_BD = np.divide(array_BD, length_B1, out=np.zeros_like(array_BD), where=length_B1 > 0)
    return unit_BD


def own_target_ranks(
    prediction_BD: ArrayOrTensor, target_BD: ArrayOrTensor, train_mean_D: ArrayOrTensor
) -> NDArray[np.int64]:
    """Place of each sample's own target among all distinct targets, best = 1.

    Targets are ordered by their cosine with the prediction, both about the training mean. Samples
    with identical target vectors share one candidate, so each counts as the other's own. A tie
    counts against the prediction: whoever predicts the mean for all finds nothing. Similarities are
    computed in blocks, 20,000 x 20,000 samples in 32 MB.

    Args:
        prediction_BD: predicted embeddings.
        target_BD: the teacher's embeddings, row i belongs to prediction i.
        train_mean_D: mean of the training embeddings.

    Shapes:
        prediction_BD, target_BD: [B, D]; train_mean_D: [D]; result: [B].

    Raises:
        DataError: for shapes that do not match, empty arrays, or NaN.
    """
    prediction, target, mean_D = checked_prediction(prediction_BD, target_BD, train_mean_D)
    distinct_UD, own_B = np.unique(target, axis=0, return_inverse=True)
    own_B = own_B.reshape(-1)
    query_BD = unit_rows(prediction - mean_D)
    candidate_DU = unit_rows(distinct_UD - mean_D).T
    rows = max(1, _BLOCK_NUMBERS // len(distinct_UD))
    ranks_B = np.empty(len(target), dtype=np.int64)
    for start in range(0, len(target), rows):
        block = slice(start, start + rows)
        similarity = query_BD[block] @ candidate_DU
        own = np.take_along_axis(similarity, own_B[block, None], axis=1)
        ranks_B[block] = (similarity >= own).sum(axis=1)  # counts the own target too
    return ranks_B
