"""How far embeddings are spread: what shows a collapse that no loss shows.

Legend: N samples, D teacher width.
"""

from __future__ import annotations

import numpy as np

from latticegraph.evaluation.arrays import ArrayOrTensor, Floats, as_float64

MOST_ROWS = 512


def pairwise_cosine(rows_ND: ArrayOrTensor) -> float:
    r"""Mean cosine of all pairs of different rows, from -1 / (N - 1) to 1.

    .. math:: \frac{|\sum_n \hat r_n|^2 - N}{N (N - 1)}, \qquad \hat r_n = r_n / |r_n|

    Near 1 all embeddings point the same way, whatever their length. It cannot tell embeddings
    around one common mean from identical ones: compare it with the teacher's. An unbiased mean over
    pairs. Source: Ethayarajh (2019), "How contextual are contextualized word representations?".

    Args:
        rows_ND: at least two embeddings; a row of zeros counts as orthogonal to all others.

    Shapes:
        rows_ND: [N, D] with N >= 2.
    """
    rows = as_float64("rows", rows_ND)
    length_N = np.linalg.norm(rows, axis=1)
    unit_ND = rows / np.where(length_N > 0, length_N, 1.0)[:, None]
    own = float(np.square(unit_ND).sum())
    total = float(np.square(unit_ND.sum(axis=0)).sum())
    return (total - own) / (len(rows) * (len(rows) - 1))


def effective_rank(rows_ND: ArrayOrTensor) -> float:
    r"""Number of directions in which embeddings vary, from 1 to min(N - 1, D).

    .. math:: \exp H(p), \qquad p_k = \sigma_k / \textstyle\sum_j \sigma_j

    with the singular values of the centred rows (Roy and Vetterli, 2007, "The effective rank"). 0
    where nothing varies. Of more than :data:`MOST_ROWS` rows evenly spaced ones are used, which
    bounds its cost. Few samples make it too small, so it is to be compared with that of the
    teacher's embeddings of the same samples only. It says nothing about what the directions mean.

    Args:
        rows_ND: at least two embeddings.

    Shapes:
        rows_ND: [N, D] with N >= 2.
    """
    rows = as_float64("rows", rows_ND)
    if len(rows) > MOST_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_ROWS).round().astype(int)]
    centred = rows - rows.mean(axis=0)
    # Of the two matrices with the same eigenvalues the smaller one.
    wide = centred.shape[1] > len(centred)
    gram: Floats = centred @ centred.T if wide else centred.T @ centred
    power = np.linalg.eigvalsh(gram).clip(min=0.0)
    floor = power[-1] * len(power) * np.finfo(np.float64).eps
    if power[-1] <= 0:
        return 0.0
    singular = np.sqrt(power[power > floor])
    share = singular / singular.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def embedding_spread(prediction_ND: ArrayOrTensor, target_ND: ArrayOrTensor) -> dict[str, float]:
    """Both numbers of predictions and of their targets, for a log; nothing for a single row.

    Args:
        prediction_ND: predicted embeddings.
        target_ND: the teacher's.

    Shapes:
        prediction_ND, target_ND: [N, D].
    """
    if len(prediction_ND) < 2:
        return {}
    return {
        "pairwise_cosine": pairwise_cosine(prediction_ND),
        "target_pairwise_cosine": pairwise_cosine(target_ND),
        "effective_rank": effective_rank(prediction_ND),
        "target_effective_rank": effective_rank(target_ND),
    }
