"""Which cells respond to which class of text, and what single cells know about it.

Legend: S samples, N cells, C channels, K classes, P permutations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latticegraph.analysis.null import Codes, family_wise
from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import Floats

SHRINKAGE = 0.1  # of the mean variance of a cell, added to its covariance


@dataclass(frozen=True)
class CellMap:
    """A value for every cell, and for which cells chance does not give it.

    Attributes:
        value_KN: the map; one row where it is not per class.
        p_KN: p-values corrected for all rows and cells, see
            :func:`~latticegraph.analysis.null.family_wise`.
        largest_P: largest value of every permuted map.
        null_P: mean over the map, for every permutation.
    """

    value_KN: Floats
    p_KN: Floats
    largest_P: Floats
    null_P: Floats


def response(states_SNC: NDArray[np.floating]) -> Floats:
    r"""How far the state of a cell is from its mean over samples.

    .. math:: a_{sn} = \sqrt{\operatorname{mean}_c (x_{snc} - \bar x_{nc})^2}

    At least 0; in units of the state.

    Args:
        states_SNC: states after one step.

    Shapes:
        states_SNC: [S, N, C]; result: [S, N].
    """
    deviation_SNC = states_SNC.astype(np.float64) - states_SNC.mean(axis=0, dtype=np.float64)
    response_SN: Floats = np.sqrt(np.square(deviation_SNC).mean(axis=2))
    return response_SN


def selectivity_index(response_SN: Floats, code_S: Codes, classes: int) -> Floats:
    r"""How much more a cell responds to one class than to the others.

    .. math:: \frac{r_k - r_{\neq k}}{r_k + r_{\neq k}}

    with the mean responses to class k and to the mean of the other classes (De Valois et al., 1982,
    for orientations; Morcos et al., 2018, for classes in networks). From -1 (only to the others) to
    1 (only to class k). Without any difference its size is still above 0 for few samples, so it is
    compared with permuted labels. Cells that never respond have 0. A selective cell need not matter
    to the output: lesions tell.

    Args:
        response_SN: at least 0.
        code_S: class of every sample, from 0.
        classes: K, at least 2; every class has a sample.

    Shapes:
        response_SN: [S, N]; result: [K, N].
    """
    one_KS = (np.arange(classes)[:, None] == code_S).astype(np.float64)
    mean_KN = one_KS @ response_SN / one_KS.sum(axis=1, keepdims=True)
    other_KN = (mean_KN.sum(axis=0) - mean_KN) / (classes - 1)
    size_KN = mean_KN + other_KN
    index_KN: Floats = (mean_KN - other_KN) / np.where(size_KN > 0, size_KN, 1.0)
    return index_KN


def selectivity_map(response_SN: Floats, code_S: Codes, permuted: Iterable[Codes]) -> CellMap:
    """Selectivity of every cell and class, tested in size over all of them.

    Args:
        response_SN: of :func:`response`.
        code_S: class of every sample.
        permuted: other orders of ``code_S``, see
            :class:`~latticegraph.analysis.null.LabelPermutations`.

    Shapes:
        value_KN: [K, N], signed; the test and its null use the absolute value.
    """
    classes = _classes(code_S)
    value_KN = selectivity_index(response_SN, code_S, classes)
    null_PR = np.array(
        [np.abs(selectivity_index(response_SN, order, classes)).ravel() for order in permuted]
    )
    p_KN = family_wise(np.abs(value_KN).ravel(), null_PR).reshape(value_KN.shape)
    return CellMap(value_KN, p_KN, null_PR.max(axis=1), null_PR.mean(axis=1))


class CellProbes:
    r"""A linear probe in every cell, all at once.

    In each cell the states are whitened with the covariance of the training half, a share of its
    mean variance added (:data:`SHRINKAGE`), and a sample gets the class of the nearest mean:

    .. math:: \hat k = \arg\max_k\; \mu_k^T W x - \tfrac12 \mu_k^T W \mu_k

    (linear discriminant analysis with the total covariance and equal priors; Hastie et al., 2009,
    section 4.3). Value: balanced accuracy, the mean over classes of the share found, chance 1 / K,
    on the half of the groups that the probe was not fitted to; both halves take turns. High
    accuracy says that a linear map can read the class from the cell, not that anything reads it: in
    a lattice that only passes text on, every cell that the text has reached has it. It is therefore
    compared with an untrained lattice, and with a control task.

    Args:
        states_SNC: states after one step.
        half_S: 0 or 1 for every sample; whole groups have one of both.

    Shapes:
        states_SNC: [S, N, C].
    """

    def __init__(self, states_SNC: NDArray[np.floating], half_S: Codes) -> None:
        if set(half_S.tolist()) != {0, 1}:
            raise DataError(
                "groups",
                "expected samples of at least two groups, got one",
                "Use text of several files, dialogues or premises",
            )
        self._folds = []
        for half in (0, 1):
            fitted, tested = np.flatnonzero(half_S != half), np.flatnonzero(half_S == half)
            known_NSC, new_NSC = _whitened(states_SNC[fitted], states_SNC[tested])
            self._folds.append((fitted, tested, known_NSC, new_NSC))

    def accuracy(self, code_S: Codes) -> Floats:
        """Balanced accuracy of every cell for these labels. Shapes: [S] -> [N]."""
        classes, halves = _classes(code_S), []
        for fitted, tested, known_NSC, new_NSC in self._folds:
            one_SK = _shares(code_S[fitted], classes).astype(known_NSC.dtype)
            mean_NKC = one_SK.T @ known_NSC
            score_NSK = new_NSC @ mean_NKC.transpose(0, 2, 1)
            score_NSK -= 0.5 * np.square(mean_NKC).sum(axis=2)[:, None, :]
            right_NS = score_NSK.argmax(axis=2) == code_S[tested]
            halves.append(right_NS @ _shares(code_S[tested], classes).sum(axis=1) / classes)
        accuracy_N: Floats = np.mean(halves, axis=0)
        return accuracy_N

    def map(self, code_S: Codes, permuted: Iterable[Codes]) -> CellMap:
        """Accuracy of every cell, tested over all cells.

        Args:
            code_S: class of every sample.
            permuted: other orders of ``code_S``.

        Shapes:
            value_KN: [1, N].
        """
        value_N = self.accuracy(code_S)
        null_PN = np.array([self.accuracy(order) for order in permuted])
        p_N = family_wise(value_N, null_PN)
        return CellMap(value_N[None], p_N[None], null_PN.max(axis=1), null_PN.mean(axis=1))


def _classes(code_S: Codes) -> int:
    classes = int(code_S.max(initial=0)) + 1
    if classes < 2:
        raise DataError("labels", "expected at least two classes, got one", "Use other text")
    return classes


def _shares(code_S: Codes, classes: int) -> Floats:
    """One over the size of its class for every sample; classes without samples have none."""
    one_SK = (code_S[:, None] == np.arange(classes)).astype(np.float64)
    share_SK: Floats = one_SK / np.maximum(one_SK.sum(axis=0), 1)
    return share_SK


def _whitened(
    known_SNC: NDArray[np.floating], new_SNC: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Both halves, cell by cell, centred and whitened by the first."""
    mean_NC = known_SNC.mean(axis=0, dtype=np.float64)
    known_NSC = (known_SNC - mean_NC).transpose(1, 0, 2)
    covariance_NCC = known_NSC.transpose(0, 2, 1) @ known_NSC / known_NSC.shape[1]
    value_NC, vector_NCC = np.linalg.eigh(covariance_NCC)
    mean_N1 = value_NC.mean(axis=1, keepdims=True)
    power_NC = value_NC.clip(0) + SHRINKAGE * mean_N1
    # A cell that the text has not reached varies by rounding alone, and knows nothing.
    dead_N1 = mean_N1 <= 1e-10 * mean_N1.max()
    scale_NC = np.where(dead_N1, 0.0, 1 / np.sqrt(np.where(power_NC > 0, power_NC, 1.0)))
    white_NCC = vector_NCC * scale_NC[:, None, :]
    new_NSC = (new_SNC - mean_NC).transpose(1, 0, 2)
    kind = known_SNC.dtype
    return (known_NSC @ white_NCC).astype(kind), (new_NSC @ white_NCC).astype(kind)
