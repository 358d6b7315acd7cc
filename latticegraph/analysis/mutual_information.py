"""Mutual information between vectors, in bits, from few samples.

Legend: S samples, D and E widths (few), P permutations.
"""

from __future__ import annotations

import numpy as np

from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import ArrayOrTensor, Floats, as_float64


def components(x_SD: ArrayOrTensor, count: int) -> Floats:
    """The first principal components, each scaled to variance 1.

    Args:
        x_SD: vectors.
        count: of components; fewer where the vectors have fewer directions.

    Shapes:
        x_SD: [S, D]; result: [S, at most ``count``].

    Raises:
        DataError: the vectors do not vary.
    """
    x = as_float64("vectors", x_SD)
    x = x - x.mean(axis=0)
    if x.shape[1] > x.shape[0]:
        value, vector = np.linalg.eigh(x @ x.T)
        score = vector[:, ::-1] * np.sqrt(value[::-1].clip(0))
    else:
        value, vector = np.linalg.eigh(x.T @ x)
        score = x @ vector[:, ::-1]
    value = value[::-1]
    if not value[0] > 0:
        raise DataError(
            "vectors",
            "expected vectors that differ between samples, got equal ones",
            "Choose cells that the input has reached",
        )
    kept = int((value[:count] > 1e-10 * value[0]).sum())
    first: Floats = score[:, :kept] / np.sqrt(value[:kept] / len(x))
    return first


def gaussian_information(x_SD: ArrayOrTensor, y_SE: ArrayOrTensor) -> float:
    r"""Mutual information of vectors that are jointly normal, from canonical correlations.

    .. math:: I = -\tfrac12 \sum_k \log_2 (1 - \rho_k^2)

    (Cover and Thomas, 2006; Kay, 1992). From 0 to, in practice, the logarithm of the rounding
    error. For other distributions it is the information of the normal ones with the same
    covariances: dependence that no correlation shows is missed. Too large by about
    D E / (2 S log 2) bits for S samples, which a permutation shows; it is not subtracted.

    Args:
        x_SD: few columns, fewer than S.
        y_SE: few columns.

    Shapes:
        x_SD: [S, D]; y_SE: [S, E]; D + E < S.

    Raises:
        DataError: for shapes that do not fit.
    """
    x, y = _checked(x_SD, y_SE)
    bases = []
    for value in (x, y):
        left, size, _ = np.linalg.svd(value - value.mean(axis=0), full_matrices=False)
        bases.append(left[:, size > 1e-10 * max(size[0], 1e-300)])
    rho_K = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False).clip(0, 1)
    return float(-0.5 * np.log2(np.maximum(1 - rho_K**2, 1e-15)).sum())


def knn_information(x_SD: ArrayOrTensor, y_SE: ArrayOrTensor, neighbours: int = 5) -> float:
    r"""Mutual information from distances to nearest neighbours, without a form of distribution.

    .. math:: I = \big[\psi(k) + \psi(S) - \langle \psi(n_x + 1) + \psi(n_y + 1) \rangle\big]
        / \log 2

    with :math:`n_x` the samples strictly nearer in x than the k-th neighbour in the joint space,
    in maximum norm (Kraskov et al., 2004, algorithm 1). Near 0 and as often negative for
    independent vectors; not clipped. It falls short where the dependence is strong (it cannot
    exceed about log2 S bits) and in more than about ten dimensions; pass few principal components.
    Equal rows are no neighbours of a continuous distribution: of discrete values it is wrong.

    Args:
        x_SD: few columns, about equal in scale.
        y_SE: few columns.
        neighbours: k, from 1; larger: less variance, more bias.

    Shapes:
        x_SD: [S, D]; y_SE: [S, E].

    Raises:
        DataError: for shapes that do not fit, or no more samples than neighbours.
    """
    from scipy.spatial import cKDTree
    from scipy.special import digamma

    x, y = _checked(x_SD, y_SE)
    if len(x) <= neighbours:
        raise DataError(
            "neighbours",
            f"expected fewer than the samples ({len(x)}), got {neighbours}",
            "Take fewer neighbours or more samples",
        )
    both = np.hstack([x, y])
    reach_S = cKDTree(both).query(both, neighbours + 1, p=np.inf)[0][:, -1]
    nearer_S = np.nextafter(reach_S, 0)
    counts = [
        cKDTree(value).query_ball_point(value, nearer_S, p=np.inf, return_length=True)
        for value in (x, y)
    ]
    # Each count holds the sample itself: it is n + 1.
    mean = float(np.mean(sum(digamma(count) for count in counts)))
    return float((digamma(neighbours) + digamma(len(x)) - mean) / np.log(2))


def permuted_information(
    x_SD: ArrayOrTensor,
    y_SE: ArrayOrTensor,
    permutations: int,
    *,
    nearest: bool = False,
    seed: int = 0,
) -> tuple[float, Floats]:
    """Mutual information, and its values after the samples of one side were permuted.

    Args:
        x_SD: few columns.
        y_SE: few columns.
        permutations: P.
        nearest: :func:`knn_information` in place of :func:`gaussian_information`.
        seed: of the permutations.

    Shapes:
        null values: [P].
    """
    measure = knn_information if nearest else gaussian_information
    x, y = _checked(x_SD, y_SE)
    random = np.random.default_rng(seed)
    null_P = np.array([measure(x, y[random.permutation(len(y))]) for _ in range(permutations)])
    return measure(x, y), null_P


def _checked(x_SD: ArrayOrTensor, y_SE: ArrayOrTensor) -> tuple[Floats, Floats]:
    x, y = as_float64("first vectors", x_SD), as_float64("second vectors", y_SE)
    if len(x) != len(y) or x.shape[1] + y.shape[1] >= len(x):
        raise DataError(
            "vectors",
            f"expected more samples than columns, as many in both, got shapes {x.shape} and "
            f"{y.shape}",
            "Pass few principal components of many samples",
        )
    return x, y
