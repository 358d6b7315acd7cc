"""How many directions the states of a layer use.

Legend: S samples, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import ArrayOrTensor, Floats, as_float64


def spectrum(x_SD: ArrayOrTensor) -> Floats:
    """Variances along the principal components, largest first.

    Shapes:
        x_SD: [S, D] with S at least 2; result: [min(S, D)].

    Raises:
        DataError: for one sample, or states that do not vary.
    """
    x = as_float64("states", x_SD)
    x = x - x.mean(axis=0)
    if len(x) < 2 or not np.abs(x).max() > 0:
        raise DataError(
            "states",
            f"expected states of several samples that differ, got {len(x)} alike",
            "Choose cells that the input has reached",
        )
    gram = x @ x.T if x.shape[0] < x.shape[1] else x.T @ x
    variance_K: Floats = np.linalg.eigvalsh(gram)[::-1].clip(0) / (len(x) - 1)
    return variance_K


def participation_ratio(x_SD: ArrayOrTensor) -> float:
    r"""Participation ratio of the principal variances.

    .. math:: \frac{(\sum_k \lambda_k)^2}{\sum_k \lambda_k^2}

    (Gao et al., 2017). From 1 to D: r for r directions of equal variance and none else. The
    estimate from S samples is too small, for r equal directions about 1 / (1/r + 1/S), which
    :func:`bias_curve` shows. It counts linear directions weighted by variance; a curved line may
    have many, and a direction that matters may have too little variance to count.

    Args:
        x_SD: states.

    Shapes:
        x_SD: [S, D].

    Raises:
        DataError: as :func:`spectrum`.
    """
    variance_K = spectrum(x_SD)
    return float(variance_K.sum() ** 2 / np.square(variance_K).sum())


def entropy_rank(x_SD: ArrayOrTensor) -> float:
    r"""Effective rank: the exponential of the entropy of the principal variances.

    .. math:: \exp\Big(-\sum_k p_k \log p_k\Big), \quad p_k = \lambda_k / \sum_j \lambda_j

    (Roy and Vetterli, 2007, on variances). From the participation ratio to D; small variances count
    more in it than in the participation ratio. Too small for few samples.

    Args:
        x_SD: states.

    Shapes:
        x_SD: [S, D].

    Raises:
        DataError: as :func:`spectrum`.
    """
    variance_K = spectrum(x_SD)
    share_K = variance_K[variance_K > 0] / variance_K.sum()
    return float(np.exp(-(share_K * np.log(share_K)).sum()))


def bias_curve(
    x_SD: ArrayOrTensor, sizes: Sequence[int], repeats: int = 5, seed: int = 0
) -> list[dict[str, float]]:
    """Both dimensions for fewer samples; where they still rise at the end they are too small.

    Args:
        x_SD: states.
        sizes: numbers of samples, each at most S.
        repeats: random subsets per size, averaged.
        seed: of the subsets.

    Returns:
        ``samples``, ``participation_ratio`` and ``entropy_rank`` for every size.
    """
    x = as_float64("states", x_SD)
    random = np.random.default_rng(seed)
    rows = []
    for size in sizes:
        parts = [
            x[random.permutation(len(x))[:size]] for _ in range(repeats if size < len(x) else 1)
        ]
        rows.append(
            {
                "samples": float(size),
                "participation_ratio": float(np.mean([participation_ratio(p) for p in parts])),
                "entropy_rank": float(np.mean([entropy_rank(p) for p in parts])),
            }
        )
    return rows
