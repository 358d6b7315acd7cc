"""What chance gives: permutations of labels and samples, twins, and intervals over groups.

Legend: S samples, G groups, P permutations, N cells or other places of a map.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import Floats

Codes = NDArray[np.int64]
Side = Literal["greater", "two-sided"]

PERMUTATIONS = 199
BLOCKS = 20  # of groups, each left out once


@dataclass(frozen=True)
class Null:
    """Values of a statistic where there is nothing to find.

    Attributes:
        kind: what was made meaningless, in words.
        mean: of the values.
        low: 2.5th percentile of the values.
        high: 97.5th percentile.
        p_value: of the measured value, see :func:`p_value`.
        count: number of values.
    """

    kind: str
    mean: float
    low: float
    high: float
    p_value: float
    count: int

    @classmethod
    def of(cls, kind: str, value: float, null_P: Floats, side: Side = "greater") -> Null:
        """Summary of null values beside a measured one."""
        low, high = np.quantile(null_P, [0.025, 0.975])
        p = p_value(value, null_P, side)
        return cls(kind, float(np.mean(null_P)), float(low), float(high), p, len(null_P))


@dataclass(frozen=True)
class Finding:
    """One statistic: its value, its interval and what chance gives.

    Attributes:
        name: key in ``analysis.json``.
        title: what it is, with its unit.
        value: measured.
        low: lower end of a 95% interval over groups of samples; None where it has none.
        high: upper end.
        nulls: what chance gives, one entry for every kind of chance.
    """

    name: str
    title: str
    value: float
    low: float | None = None
    high: float | None = None
    nulls: tuple[Null, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The entry of ``analysis.json``."""
        return {
            "title": self.title,
            "value": self.value,
            "interval": None if self.low is None else [self.low, self.high],
            "nulls": [vars(null) for null in self.nulls],
        }


def p_value(value: float, null_P: Floats, side: Side = "greater") -> float:
    r"""How often chance reaches a value.

    .. math:: p = \frac{1 + \#\{p : s_p \ge s\}}{1 + P}

    The measured order is one of the possible ones and counts (Phipson and Smyth, 2010), so p is at
    least 1 / (1 + P) and, where the null holds, is at most a with probability a or less. Two-sided:
    twice the smaller of both sides, at most 1. Equal up to rounding counts as reached.

    Args:
        value: the measured statistic.
        null_P: the statistic for orders, or twins, without the effect.
        side: ``greater`` or ``two-sided``.

    >>> p_value(3.0, np.array([1.0, 2.0, 4.0]))
    0.5
    """
    close = 1e-9 * max(1.0, abs(value))
    above = (1 + int((null_P >= value - close).sum())) / (1 + len(null_P))
    if side == "greater":
        return above
    below = (1 + int((null_P <= value + close).sum())) / (1 + len(null_P))
    return min(1.0, 2 * min(above, below))


def family_wise(value_N: Floats, null_PN: Floats) -> Floats:
    r"""p-values of all places of a map, corrected for their number.

    .. math:: p_n = \frac{1 + \#\{p : \max_m s_{pm} \ge s_n\}}{1 + P}

    (Westfall and Young, 1993; single step). If nothing is there, one of the N values is below a
    with probability at most a, however the places depend on each other. It says which places stand
    out from all of chance, not that the others have no effect.

    Args:
        value_N: the map; larger means more.
        null_PN: the map for every permutation.

    Shapes:
        value_N: [N]; null_PN: [P, N]; result: [N], from 1 / (1 + P) to 1.
    """
    largest_P = null_PN.max(axis=1)
    close_N = 1e-9 * np.maximum(1.0, np.abs(value_N))
    reached_N = (largest_P[:, None] >= value_N - close_N).sum(axis=0)
    p_N: Floats = (1 + reached_N) / (1 + len(null_PN))
    return p_N


def codes_of(values: Sequence[Hashable]) -> tuple[Codes, list[Hashable]]:
    """Whole numbers for values, in sorted order of their text, and the values.

    >>> codes_of(["b", "a", "b"])[0].tolist()
    [1, 0, 1]
    """
    kinds = sorted(set(values), key=str)
    number = {value: index for index, value in enumerate(kinds)}
    return np.array([number[value] for value in values], dtype=np.int64), kinds


class LabelPermutations:
    """Orders of the labels that are as likely as the given one if labels mean nothing.

    Samples of one group (a dialogue, a module) are alike, so labels are not moved freely:

    - every group has a single label: whole groups exchange their labels;
    - labels differ inside groups: they are exchanged within each group only, and groups of one
      sample exchange among themselves. What then counts is what a label says beyond its group.

    Args:
        labels: of every sample.
        groups: of every sample.
        count: P.
        seed: of the orders.

    Attributes:
        kind: which of both, in words.

    Raises:
        DataError: not one label per sample and group, or fewer than two labels or two samples that
            may exchange.
    """

    def __init__(
        self,
        labels: Sequence[Hashable],
        groups: Sequence[Hashable],
        count: int = PERMUTATIONS,
        seed: int = 0,
    ) -> None:
        if len(labels) != len(groups):
            raise DataError(
                "groups",
                f"expected one group per label ({len(labels)}), got {len(groups)}",
                "Pass the groups of the samples, in their order",
            )
        self.code_S, _ = codes_of(labels)
        group_S, _ = codes_of(groups)
        self.count, self.seed = count, seed
        members = [np.flatnonzero(group_S == group) for group in range(group_S.max(initial=-1) + 1)]
        constant = all(len(set(self.code_S[part].tolist())) == 1 for part in members)
        self._blocks = members if constant and any(len(part) > 1 for part in members) else None
        alone = [part for part in members if len(part) == 1]
        self._strata = [part for part in members if len(part) > 1]
        if alone:
            self._strata.append(np.concatenate(alone))
        self.kind = "labels exchanged " + ("between groups" if self._blocks else "within groups")
        if not self._movable():
            raise DataError(
                "labels",
                "expected at least two labels that can be exchanged, got none",
                "Use text with several labels, or with groups that differ in their labels",
            )

    def _movable(self) -> bool:
        parts = [np.arange(len(self.code_S))] if self._blocks else self._strata
        return any(len(set(self.code_S[part].tolist())) > 1 for part in parts)

    def __iter__(self) -> Iterator[Codes]:
        """P arrays of label numbers, [S]."""
        random = np.random.default_rng(self.seed)
        for _ in range(self.count):
            order_S = self.code_S.copy()
            if self._blocks:
                labels = np.array([self.code_S[part[0]] for part in self._blocks])
                for part, label in zip(self._blocks, random.permutation(labels), strict=True):
                    order_S[part] = label
            else:
                for part in self._strata:
                    order_S[part] = self.code_S[random.permutation(part)]
            yield order_S


def group_blocks(groups: Sequence[Hashable], blocks: int = BLOCKS, seed: int = 0) -> Codes:
    """A number of a block for every sample; whole groups are dealt out at random.

    Args:
        groups: of every sample.
        blocks: wanted number; fewer where there are fewer groups.
        seed: of the deal.

    Shapes:
        result: [S].
    """
    group_S, kinds = codes_of(groups)
    size_G = np.bincount(group_S)
    order = np.random.default_rng(seed).permutation(len(kinds))
    order = order[np.argsort(-size_G[order], kind="stable")]
    filled = np.zeros(min(blocks, len(kinds)), dtype=np.int64)
    block_G = np.zeros(len(kinds), dtype=np.int64)
    for group in order:  # the largest first, each into the emptiest block
        block_G[group] = int(np.argmin(filled))
        filled[block_G[group]] += size_G[group]
    return block_G[group_S]


def group_order(groups: Sequence[Hashable], seed: int = 0) -> Codes:
    """Numbers of the samples with whole groups one after another, the groups in random order.

    Args:
        groups: of every sample.
        seed: of the order.

    Shapes:
        result: [S].
    """
    group_S, kinds = codes_of(groups)
    place_G = np.random.default_rng(seed).permutation(len(kinds))
    order_S: Codes = np.argsort(place_G[group_S], kind="stable")
    return order_S


def jackknife(
    statistic: Callable[[Codes], float], block_S: Codes, level: float = 0.95
) -> tuple[float, float, float]:
    r"""A statistic and its interval over groups, from leaving out one block of groups at a time.

    .. math:: \mathrm{se}^2 = \tfrac{b-1}{b} \sum_i (\theta_{(i)} - \bar\theta)^2, \quad
        \theta \pm t_{b-1}\,\mathrm{se}

    (Shao and Tu, 1995). No sample is counted twice, as a bootstrap would, which statistics of pairs
    of samples (CKA) and ranks mistake for similarity. It covers the choice of text, not the seed of
    the training. For statistics that jump, such as a maximum, it is too narrow.

    Args:
        statistic: of the numbers of the samples to use.
        block_S: of :func:`group_blocks`, at least two blocks.
        level: confidence.

    Returns:
        Value on all samples, lower and upper end.
    """
    from scipy.stats import t

    everything = np.arange(len(block_S))
    value = statistic(everything)
    count = int(block_S.max()) + 1
    left = np.array([statistic(everything[block_S != block]) for block in range(count)])
    spread = np.sqrt((count - 1) / count * np.square(left - left.mean()).sum())
    wide = float(t.ppf((1 + level) / 2, count - 1) * spread)
    return value, value - wide, value + wide
