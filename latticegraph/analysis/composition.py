"""Whether the state of a phrase follows from the states of its parts.

Legend: S samples, D width, P permutations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from latticegraph.analysis.null import Codes
from latticegraph.analysis.probes import whitened_components
from latticegraph.evaluation.arrays import Floats

PENALTIES = (0.001, 0.01, 0.1, 1.0)


def parts_of_text(text: str) -> tuple[str, str] | None:
    """A text divided at its middle word; None for fewer than four words.

    >>> parts_of_text("the cat sat down here")
    ('the cat', 'sat down here')
    """
    words = text.split()
    middle = len(words) // 2
    return None if len(words) < 4 else (" ".join(words[:middle]), " ".join(words[middle:]))


def composition(
    first_SD: NDArray[np.floating],
    second_SD: NDArray[np.floating],
    whole_SD: NDArray[np.floating],
    half_S: Codes,
    *,
    permutations: int = 19,
    dimension: int = 32,
    seed: int = 0,
) -> tuple[float, Floats, Floats]:
    r"""Share of the variance of wholes that a linear map of their parts explains.

    .. math:: R^2 = 1 - \frac{\sum_s \|y_s - A a_s - B b_s - c\|^2}{\sum_s \|y_s - \bar y\|^2}

    with a ridge regression on the first principal components of the parts, fitted on one half of
    the groups and measured on the other, both taking turns (as additive composition in Mitchell
    and Lapata, 2010). At most 1, negative where the fit misleads. Two nulls: the second parts of
    other samples (what the first part alone explains), and both parts of another sample (0, up to
    noise). High values say that a linear map of the parts is enough; of a representation whose
    teacher composes linearly they follow without any work of the lattice. What the map misses is
    interaction, context and noise alike.

    Args:
        first_SD: states of the first parts.
        second_SD: states of the second parts.
        whole_SD: states of the wholes.
        half_S: 0 or 1; whole groups have one of both.
        permutations: P, of each null.
        dimension: principal components of each part.
        seed: of the permutations.

    Shapes:
        inputs: [S, D]; null values: [P] and [P].
    """
    random = np.random.default_rng(seed)
    orders = [random.permutation(len(whole_SD)) for _ in range(permutations)]

    def value(second: NDArray[np.floating], first: NDArray[np.floating] = first_SD) -> float:
        return _explained(first, second, whole_SD, half_S, dimension)

    one_P = np.array([value(second_SD[order]) for order in orders])
    both_P = np.array([value(second_SD[order], first_SD[order]) for order in orders])
    return value(second_SD), one_P, both_P


def _explained(
    first_SD: NDArray[np.floating],
    second_SD: NDArray[np.floating],
    whole_SD: NDArray[np.floating],
    half_S: Codes,
    dimension: int,
) -> float:
    missed = spread = 0.0
    for half in (0, 1):
        known, new = half_S != half, half_S == half
        a, a_new = whitened_components(first_SD[known], first_SD[new], dimension)
        b, b_new = whitened_components(second_SD[known], second_SD[new], dimension)
        x, x_new = np.hstack([a, b]), np.hstack([a_new, b_new])
        y: Floats = whole_SD[known].astype(np.float64)
        mean = y.mean(axis=0)
        best = _penalty(x, y - mean)
        guess = x_new @ _ridge(x, y - mean, best) + mean
        missed += float(np.square(whole_SD[new] - guess).sum())
        spread += float(np.square(whole_SD[new] - mean).sum())
    return 1 - missed / spread


def _penalty(x: Floats, y: Floats) -> float:
    """The penalty that does best on the last quarter."""
    cut = len(x) * 3 // 4
    errors = [
        float(np.square(x[cut:] @ _ridge(x[:cut], y[:cut], penalty) - y[cut:]).sum())
        for penalty in PENALTIES
    ]
    return PENALTIES[int(np.argmin(errors))]


def _ridge(x: Floats, y: Floats, penalty: float) -> Floats:
    gram = x.T @ x + penalty * len(x) * np.eye(x.shape[1])
    return np.asarray(np.linalg.solve(gram, x.T @ y), dtype=np.float64)
