"""How sure a difference in explained variance is: a paired bootstrap over groups of samples.

Legend: N samples, G groups, R resamples, K rows of the report.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import Floats

RESAMPLES = 2000
LEVEL = 0.95
_BLOCK_NUMBERS = 4_000_000  # 32 MB of counts at a time


@dataclass(frozen=True)
class Difference:
    """Explained variance of one row minus that of another, with its interval.

    Attributes:
        value: the difference on all samples.
        low: lower end of the interval; None where there are fewer than 2 groups.
        high: upper end.
    """

    value: float
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, Any]:
        """The entry of ``report.json``."""
        return {"explained_variance": self.value, "low": self.low, "high": self.high}


class GroupBootstrap:
    r"""Intervals of differences in explained variance between rows measured on the same samples.

    With :math:`e_n` the squared error of sample n and :math:`s_n` its squared distance from the
    mean of the training targets, the difference of row a minus row b is a ratio of sums,

    .. math:: d = \sum_n (e^b_n - e^a_n) \Big/ \sum_n s_n

    so a resample needs no more than the sums of every group. Groups are drawn with replacement, not
    samples: sentences of one module or dialogue are alike, and an interval over single samples
    would be too narrow. All rows see the same resamples. The ends are expanded percentiles
    (Hesterberg, 2015): with few groups plain percentiles are too narrow by about
    :math:`\sqrt{(G-1)/G}` and by the ratio of normal to Student quantiles.

    Args:
        groups: the group of every sample.
        spread_N: s.
        seed: of the resamples.
        resamples: R.

    Shapes:
        spread_N: [N].

    Raises:
        DataError: there is not one group per sample, or all spreads are 0.

    >>> bootstrap = GroupBootstrap(["a", "a", "b"], np.array([1.0, 1.0, 2.0]))
    >>> own, others = np.array([0.1, 0.1, 0.2]), {"pca": np.array([0.2, 0.2, 0.4])}
    >>> round(bootstrap.differences(own, others)["pca"].value, 6)
    0.1
    """

    def __init__(
        self,
        groups: Sequence[Hashable],
        spread_N: Floats,
        *,
        seed: int = 0,
        resamples: int = RESAMPLES,
    ) -> None:
        if len(groups) != len(spread_N):
            raise DataError(
                "groups",
                f"expected one group per sample ({len(spread_N)}), got {len(groups)}",
                "Pass the groups of the held-out samples, in their order",
            )
        if not spread_N.sum() > 0:
            raise DataError(
                "target",
                "expected held-out embeddings that differ from the training mean, got none",
                "Hold out more than one text",
            )
        number: dict[Hashable, int] = {}
        self.code_N: NDArray[np.int64] = np.array(
            [number.setdefault(group, len(number)) for group in groups], dtype=np.int64
        )
        self.groups = len(number)
        self.samples = len(groups)
        self.spread_N = spread_N
        self.seed = seed
        self.resamples = resamples

    def differences(self, own_N: Floats, others: Mapping[str, Floats]) -> dict[str, Difference]:
        """One row minus each of several others.

        Args:
            own_N: squared error of every sample, of the row that is compared.
            others: squared errors of the other rows, by name.

        Shapes:
            own_N and each of ``others``: [N].
        """
        if not others:
            return {}
        gain_KN = np.stack([other_N - own_N for other_N in others.values()])
        value_K = gain_KN.sum(axis=1) / self.spread_N.sum()
        if self.groups < 2:
            return {
                name: Difference(float(value), None, None)
                for name, value in zip(others, value_K, strict=True)
            }
        drawn_RK = self._resampled(gain_KN)
        tail = expanded_tail(self.groups)
        low_K, high_K = np.quantile(drawn_RK, [tail, 1 - tail], axis=0)
        return {
            name: Difference(float(value), float(low), float(high))
            for name, value, low, high in zip(others, value_K, low_K, high_K, strict=True)
        }

    def _resampled(self, gain_KN: Floats) -> Floats:
        """The differences in every resample."""
        count, random = self.groups, np.random.default_rng(self.seed)
        columns = [self._sums(one_N) for one_N in (*gain_KN, self.spread_N)]
        sums_GC = np.stack(columns, axis=1)
        parts, block = [], max(1, _BLOCK_NUMBERS // count)
        for start in range(0, self.resamples, block):
            rows = min(block, self.resamples - start)
            draws = random.integers(0, count, size=(rows, count))
            draws += np.arange(rows)[:, None] * count
            times_RG = np.bincount(draws.ravel(), minlength=rows * count).reshape(rows, count)
            parts.append(times_RG @ sums_GC)
        drawn_RC = np.concatenate(parts)
        # A resample of groups that all equal the mean has nothing to explain.
        drawn_RC = drawn_RC[drawn_RC[:, -1] > 0]
        ratio_RK: Floats = drawn_RC[:, :-1] / drawn_RC[:, -1:]
        return ratio_RK

    def _sums(self, value_N: Floats) -> Floats:
        total_G = np.bincount(self.code_N, weights=value_N, minlength=self.groups)
        return total_G.astype(np.float64)


def expanded_tail(groups: int, level: float = LEVEL) -> float:
    r"""Share of resamples beyond each end of an expanded percentile interval.

    .. math:: \Phi\big(-\sqrt{G/(G-1)}\; t_{(1+level)/2,\,G-1}\big)

    Args:
        groups: G, at least 2.
        level: confidence, 0 to 1.
    """
    # Takes most of a second to import, which a run need not wait for before its report.
    from scipy.stats import norm, t

    wide = math.sqrt(groups / (groups - 1)) * t.ppf((1 + level) / 2, groups - 1)
    return float(norm.cdf(-wide))
