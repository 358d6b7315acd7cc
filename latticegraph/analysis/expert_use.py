"""Which experts cells use for which class of text.

Legend: T steps, S samples, N cells, X experts, K classes, P permutations.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from latticegraph.analysis.null import Codes
from latticegraph.evaluation.arrays import Floats


def class_gates(gates_TSNX: NDArray[np.floating], code_S: Codes) -> Floats:
    """Mean share of every expert in every cell, per step and class of text: the expert map.

    Shares add up to 1 over experts. They say how much of an update is taken, not how large it is.

    Args:
        gates_TSNX: shares.
        code_S: class of every sample.

    Shapes:
        gates_TSNX: [T, S, N, X]; result: [T, K, N, X].
    """
    kinds = range(int(code_S.max()) + 1)
    mean_TKNX: Floats = np.stack(
        [gates_TSNX[:, code_S == kind].mean(axis=1, dtype=np.float64) for kind in kinds], axis=1
    )
    return mean_TKNX


def domain_ratio(gates_TSNX: NDArray[np.floating], code_S: Codes) -> float:
    r"""The largest share of an expert for one class over its share for all classes.

    .. math:: \max_{x,k} \; \bar g_{xk} \Big/ \operatorname{mean}_j \bar g_{xj}

    with gates averaged over steps and cells (domain specialisation as in Muennighoff et al., 2024,
    for soft gates). 1: every class uses every expert alike; at most K. As a maximum it is above 1
    for any finite sample. It says nothing about cells that differ in opposite directions:
    :func:`divergence` does.

    Args:
        gates_TSNX: shares.
        code_S: class of every sample.

    Shapes:
        gates_TSNX: [T, S, N, X].
    """
    mean_SX = gates_TSNX.mean(axis=(0, 2), dtype=np.float64)
    return float(_ratio(mean_SX, code_S))


def permuted_ratio(
    gates_TSNX: NDArray[np.floating], code_S: Codes, permuted: Iterable[Codes]
) -> tuple[float, Floats]:
    """:func:`domain_ratio`, and its values for other orders of the labels. Shapes: [P]."""
    mean_SX = gates_TSNX.mean(axis=(0, 2), dtype=np.float64)
    return _ratio(mean_SX, code_S), np.array([_ratio(mean_SX, order) for order in permuted])


def divergence(gates_TSNX: NDArray[np.floating], code_S: Codes) -> Floats:
    r"""How differently a cell uses its experts for the classes of text, per step.

    .. math:: \operatorname{mean}_k \tfrac12 \sum_x
        |\bar g_{nxk} - \operatorname{mean}_j \bar g_{nxj}|

    (mean total variation from the mean over classes). From 0, the same use for all, towards
    1 - 1/K. Above 0 for any finite sample whose gates vary.

    Args:
        gates_TSNX: shares.
        code_S: class of every sample.

    Shapes:
        gates_TSNX: [T, S, N, X]; result: [T, N].
    """
    mean_TKNX = class_gates(gates_TSNX, code_S)
    apart_TKNX = np.abs(mean_TKNX - mean_TKNX.mean(axis=1, keepdims=True))
    divergence_TN: Floats = 0.5 * apart_TKNX.sum(axis=3).mean(axis=1)
    return divergence_TN


def _ratio(mean_SX: Floats, code_S: Codes) -> float:
    one_KS = (np.arange(int(code_S.max()) + 1)[:, None] == code_S).astype(np.float64)
    share_KX = one_KS @ mean_SX / one_KS.sum(axis=1, keepdims=True)
    return float((share_KX / np.maximum(share_KX.mean(axis=0), 1e-300)).max())
