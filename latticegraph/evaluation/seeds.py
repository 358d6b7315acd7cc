"""Two models over several seeds: what the seed and the choice of held-out text can explain.

Legend: N samples, K seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import Floats
from latticegraph.evaluation.bootstrap import LEVEL, Difference, GroupBootstrap


@dataclass(frozen=True)
class SeedComparison:
    """Explained variance of model A minus that of model B, seed by seed.

    Attributes:
        by_seed: the difference of every seed.
        over_seeds: their mean, with Student's interval over seeds.
        over_groups: the same mean, with the bootstrap interval over held-out groups.
    """

    by_seed: tuple[float, ...]
    over_seeds: Difference
    over_groups: Difference

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "by_seed": list(self.by_seed),
            "over_seeds": self.over_seeds.to_json(),
            "over_groups": self.over_groups.to_json(),
        }


def compare_seeds(
    errors_A: Sequence[Floats], errors_B: Sequence[Floats], bootstrap: GroupBootstrap
) -> SeedComparison:
    r"""Pair two models by seed.

    .. math:: \bar d \pm t_{0.975,\,K-1} \, s_d / \sqrt K

    over seeds (Student, 1908); over groups, the errors of all seeds are averaged first.

    Args:
        errors_A: squared error of every held-out sample, one array per seed.
        errors_B: the same of the other model, seeds in the same order.
        bootstrap: over the groups of these samples.

    Shapes:
        each of ``errors_A`` and ``errors_B``: [N].

    Raises:
        DataError: not the same number of seeds, or none.
    """
    if not errors_A or len(errors_A) != len(errors_B):
        raise DataError(
            "seeds",
            f"expected as many seeds of both models, got {len(errors_A)} and {len(errors_B)}",
            "Train both with the same seeds",
        )
    total = bootstrap.spread_N.sum()
    by_seed = tuple(
        float((two_N - one_N).sum() / total)
        for one_N, two_N in zip(errors_A, errors_B, strict=True)
    )
    means = [np.mean(np.stack(errors), axis=0) for errors in (errors_A, errors_B)]
    over_groups = bootstrap.differences(means[0], {"other": means[1]})["other"]
    return SeedComparison(by_seed, student_interval(by_seed), over_groups)


def student_interval(values: Sequence[float]) -> Difference:
    """Mean of some values with Student's interval; without ends for a single value.

    >>> student_interval([1.0, 1.0, 1.0])
    Difference(value=1.0, low=1.0, high=1.0)
    """
    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return Difference(mean, None, None)
    # Takes most of a second to import, which other commands need not wait for.
    from scipy.stats import t

    half = float(t.ppf((1 + LEVEL) / 2, count - 1)) * float(np.std(values, ddof=1))
    half /= math.sqrt(count)
    return Difference(mean, mean - half, mean + half)
