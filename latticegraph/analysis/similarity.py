"""How alike two sets of vectors of the same samples are: centred kernel alignment.

Legend: S samples, D and E widths.
"""

from __future__ import annotations

import math

import numpy as np

from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import ArrayOrTensor, Floats, as_float64


def hsic(gram_SS: Floats, other_SS: Floats) -> float:
    r"""Unbiased estimate of the Hilbert-Schmidt independence criterion.

    With the diagonals of K and L set to 0 and n samples,

    .. math:: \mathrm{HSIC}_1 = \frac{1}{n(n-3)} \Big[ \operatorname{tr}(KL)
        + \frac{(1^T K 1)(1^T L 1)}{(n-1)(n-2)} - \frac{2}{n-2} 1^T K L 1 \Big]

    (Song et al., 2012, equation 5). Its mean over samples is the true value, 0 for independent
    vectors, so that it is negative about as often as not where nothing is shared. It is not
    clipped.

    Args:
        gram_SS: inner products of one set; need not be centred.
        other_SS: of the other set.

    Shapes:
        both: [S, S] with S at least 4.
    """
    count = len(gram_SS)
    k_SS, l_SS = (gram - np.diag(np.diag(gram)) for gram in (gram_SS, other_SS))
    row_k, row_l = k_SS.sum(axis=0), l_SS.sum(axis=0)
    total = float((k_SS * l_SS).sum())
    total += float(row_k.sum() * row_l.sum()) / ((count - 1) * (count - 2))
    total -= 2 / (count - 2) * float(row_k @ row_l)
    return total / (count * (count - 3))


def debiased_cka(x_SD: ArrayOrTensor, y_SE: ArrayOrTensor) -> float:
    r"""Linear centred kernel alignment without the bias of small samples.

    .. math:: \frac{\mathrm{HSIC}_1(K, L)}{\sqrt{\mathrm{HSIC}_1(K, K)\,\mathrm{HSIC}_1(L, L)}},
        \quad K = XX^T, L = YY^T

    (Kornblith et al., 2019, with the estimator of :func:`hsic`). At most about 1; near 0, and as
    often negative, for independent sets. The ratio of unbiased estimates keeps a small bias of its
    own. It does not change with rotations and one common scale, is dominated by the directions of
    largest variance, and says neither that one set can be computed from the other nor that both
    mean the same.

    Args:
        x_SD: one vector per sample.
        y_SE: another vector per sample.

    Shapes:
        x_SD: [S, D]; y_SE: [S, E]; S at least 4.

    Raises:
        DataError: for other shapes, or vectors that do not vary.
    """
    return _ratio(*_grams(x_SD, y_SE))


def biased_cka(x_SD: ArrayOrTensor, y_SE: ArrayOrTensor) -> float:
    r"""Linear centred kernel alignment as it is usually computed, to compare with.

    .. math:: \frac{\|Y_c^T X_c\|_F^2}{\|X_c^T X_c\|_F \|Y_c^T Y_c\|_F}

    (Kornblith et al., 2019). From 0 to 1. For independent sets it is far above 0: with D = E and
    normal values about D / (D + S).

    Args:
        x_SD: one vector per sample.
        y_SE: another vector per sample.

    Shapes:
        x_SD: [S, D]; y_SE: [S, E].

    Raises:
        DataError: as :func:`debiased_cka`.
    """
    k_SS, l_SS = _grams(x_SD, y_SE)
    return float((k_SS * l_SS).sum() / (np.linalg.norm(k_SS) * np.linalg.norm(l_SS)))


def permuted_cka(
    x_SD: ArrayOrTensor, y_SE: ArrayOrTensor, permutations: int, seed: int = 0
) -> tuple[float, Floats]:
    """Debiased CKA, and its values after the samples of one set were permuted.

    Args:
        x_SD: one vector per sample.
        y_SE: another vector per sample.
        permutations: P.
        seed: of the permutations.

    Shapes:
        null values: [P].
    """
    k_SS, l_SS = _grams(x_SD, y_SE)
    random = np.random.default_rng(seed)
    size = math.sqrt(hsic(k_SS, k_SS) * hsic(l_SS, l_SS))
    null_P = np.empty(permutations)
    for index in range(permutations):
        order = random.permutation(len(k_SS))
        null_P[index] = hsic(k_SS, l_SS[np.ix_(order, order)]) / size
    return hsic(k_SS, l_SS) / size, null_P


def cosine_matrix(x_SD: ArrayOrTensor) -> Floats:
    """Cosines between the centred vectors of all samples, from -1 to 1. Shapes: [S, S]."""
    x = as_float64("vectors", x_SD)
    x = x - x.mean(axis=0)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)
    cosine_SS: Floats = x @ x.T
    return cosine_SS


def _ratio(k_SS: Floats, l_SS: Floats) -> float:
    return hsic(k_SS, l_SS) / math.sqrt(hsic(k_SS, k_SS) * hsic(l_SS, l_SS))


def _grams(x_SD: ArrayOrTensor, y_SE: ArrayOrTensor) -> tuple[Floats, Floats]:
    x, y = as_float64("first vectors", x_SD), as_float64("second vectors", y_SE)
    if len(x) != len(y) or len(x) < 4:
        raise DataError(
            "vectors",
            f"expected two sets of the same samples, at least 4, got {len(x)} and {len(y)}",
            "Pass one row per sample in both",
        )
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    for name, value in (("first", x), ("second", y)):
        if not np.abs(value).max() > 0:
            raise DataError(
                "vectors",
                f"expected vectors that differ between samples, got equal {name} ones",
                "Choose cells that the input has reached",
            )
    return x @ x.T, y @ y.T
