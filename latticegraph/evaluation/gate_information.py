"""What the gates of a lattice know about the text: information, and its permutation null.

Legend: S samples, N cells, X experts, G groups, P permutations.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import Floats

PERMUTATIONS = 200


@dataclass(frozen=True)
class GateInformation:
    """Information between the expert that a cell uses and the group of the text, in bits.

    Attributes:
        value: mean over cells.
        null: mean over permutations of the groups.
        null_high: 95th percentile of them.
        p_value: share of permutations, with the real order among them, that reach ``value``; at
            least 1 / (P + 1).
    """

    value: float
    null: float
    null_high: float
    p_value: float

    def to_json(self) -> dict[str, Any]:
        """The entry of ``report.json``."""
        return {
            "bits": self.value,
            "null": self.null,
            "null_high": self.null_high,
            "p_value": self.p_value,
        }


def gate_information(
    gates_SNX: Floats,
    groups: Sequence[Hashable],
    *,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> GateInformation:
    r"""How much the group of a text tells about the expert that a cell uses.

    With the gates as the probabilities by which a cell uses its experts,

    .. math:: I = \operatorname{mean}_n \Big[ H\big(\operatorname{mean}_s p_{sn}\big)
        - \sum_g \tfrac{S_g}{S} H\big(\operatorname{mean}_{s \in g} p_{sn}\big) \Big]

    which is the mutual information of expert and group (Cover and Thomas, 2006, section 2.4), from
    0 to the entropy of the gates. It is above 0 for any finite sample whose gates vary, so it is
    compared with the same sum after the groups have been permuted among the samples. It sees
    differences between groups alone: gates that vary inside each group and have the same mean in
    all of them give 0.

    Args:
        gates_SNX: share of every expert in every cell, averaged over steps; the last axis adds up
            to 1.
        groups: of every sample, for instance its dialogue or module.
        seed: of the permutations.
        permutations: P, at least 1.

    Shapes:
        gates_SNX: [S, N, X].

    Raises:
        DataError: there is not one group per sample.
    """
    if len(groups) != len(gates_SNX):
        raise DataError(
            "groups",
            f"expected one group per sample ({len(gates_SNX)}), got {len(groups)}",
            "Pass the groups of the samples, in their order",
        )
    number: dict[Hashable, int] = {}
    code_S = np.array([number.setdefault(group, len(number)) for group in groups], np.int64)
    size_G = np.bincount(code_S)
    random = np.random.default_rng(seed)
    value = _information(gates_SNX[np.argsort(code_S, kind="stable")], size_G)
    null_P = np.array(
        [
            _information(gates_SNX[random.permutation(len(code_S))], size_G)
            for _ in range(permutations)
        ]
    )
    # Equal up to rounding counts as reached: groups of one sample each leave nothing to permute.
    reached = int((null_P >= value - 1e-9).sum())
    return GateInformation(
        value=max(value, 0.0),
        null=float(null_P.mean()),
        null_high=float(np.quantile(null_P, 0.95)),
        p_value=(1 + reached) / (1 + permutations),
    )


def _information(gates_SNX: Floats, size_G: NDArray[np.int64]) -> float:
    """The information of samples whose groups follow one another, with the given sizes."""
    starts_G = np.cumsum(size_G) - size_G
    mean_GNX = np.add.reduceat(gates_SNX, starts_G, axis=0) / size_G[:, None, None]
    within_G = np.array([_entropy(mean_NX) for mean_NX in mean_GNX])
    return float(_entropy(gates_SNX.mean(axis=0)) - size_G @ within_G / len(gates_SNX))


def _entropy(probability_NX: Floats) -> float:
    """Mean entropy of the rows, in bits; 0 log 0 is 0."""
    safe_NX = np.where(probability_NX > 0, probability_NX, 1.0)
    return float(-(probability_NX * np.log2(safe_NX)).sum(axis=-1).mean())
