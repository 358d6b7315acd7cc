"""What a linear map can read from a representation: probes, control tasks, description length.

Legend: S samples, D width, K classes, P permutations.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticegraph.analysis.null import Codes, LabelPermutations, codes_of
from latticegraph.evaluation.arrays import Floats

PENALTIES = (0.01, 0.1, 1.0, 10.0)  # inverse of the L2 penalty, for components of variance 1
PORTIONS = (0.0625, 0.125, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Probed:
    """What a probe found.

    Attributes:
        right_S: whether the class of each sample was found, by the probe of the other half.
        accuracy: balanced: mean over classes of the share found.
        null_P: accuracy of the same predictions for other orders of the labels.
    """

    right_S: NDArray[np.bool_]
    accuracy: float
    null_P: Floats


def balanced(right_S: NDArray[np.bool_], code_S: Codes) -> float:
    """Mean over classes of the share of samples found."""
    return float(np.mean([right_S[code_S == kind].mean() for kind in np.unique(code_S)]))


def probe(
    x_SD: NDArray[np.floating],
    code_S: Codes,
    half_S: Codes,
    permuted: LabelPermutations,
    dimension: int = 32,
) -> Probed:
    r"""Balanced accuracy of a linear probe, from chance 1 / K to 1.

    Logistic regression with classes weighted alike on the first principal components of the
    half that it is fitted to, each scaled to variance 1; the L2 penalty is the one of
    :data:`PENALTIES` with the best likelihood on the last quarter of that half; both halves take
    turns. The components make representations comparable: a plane of cells has many more numbers
    than the code, and a wider input is easier to fit. Null: labels of the tested half exchanged,
    predictions kept. Accuracy says that the class can be read linearly from these directions, not
    that the lattice uses it, nor how much is there that no linear map reads.

    Args:
        x_SD: the representation.
        code_S: class of every sample.
        half_S: 0 or 1; whole groups have one of both.
        permuted: other orders of ``code_S``.
        dimension: components; fewer where there are not as many.

    Shapes:
        x_SD: [S, D].
    """
    found_S = np.empty(len(code_S), dtype=np.int64)
    for half in (0, 1):
        known, new = np.flatnonzero(half_S != half), np.flatnonzero(half_S == half)
        x_known, x_new = whitened_components(x_SD[known], x_SD[new], dimension)
        found_S[new] = _fitted(x_known, code_S[known]).predict(x_new)
    right_S = found_S == code_S
    null_P = np.array([balanced(found_S == order, order) for order in permuted])
    return Probed(right_S, balanced(right_S, code_S), null_P)


def control_labels(types: Sequence[Hashable], code_S: Codes, seed: int = 0) -> Codes:
    """A control task: every type of text gets a class at random, with the shares of the real ones.

    A probe can only solve it by remembering types (Hewitt and Liang, 2019), so the types must
    repeat, in the fitted half and in the tested one. The accuracy on the real labels minus that on
    these is the selectivity of the probe. For texts that are all different a random label per text
    would be a permutation and no control task.

    Args:
        types: of every sample, such as a small cluster of embeddings.
        code_S: the real classes.
        seed: of the assignment.

    Shapes:
        result: [S].
    """
    type_S, kinds = codes_of(types)
    random = np.random.default_rng(seed)
    classes = int(code_S.max()) + 1
    share_K = np.bincount(code_S, minlength=classes) / len(code_S)
    # The largest types first, each to the class that lacks most: shares are kept for few types too.
    size_Y = np.bincount(type_S)
    order = np.argsort(-(size_Y + random.random(len(kinds)) * size_Y.mean()), kind="stable")
    lacking_K = share_K * len(code_S)
    class_Y = np.empty(len(kinds), dtype=np.int64)
    for kind in order:
        chance_K = np.maximum(lacking_K, 1e-9)
        class_Y[kind] = random.choice(classes, p=chance_K / chance_K.sum())
        lacking_K[class_Y[kind]] -= size_Y[kind]
    return class_Y[type_S]


def code_length(
    x_SD: NDArray[np.floating], code_S: Codes, order_S: Codes, dimension: int = 32
) -> float:
    r"""Bits per label that a probe needs to send the labels, online.

    .. math:: \frac1S \Big[ S_1 \log_2 K - \sum_{i} \sum_{s \in \text{portion } i+1}
        \log_2 p_{\theta_i}(k_s \mid x_s) \Big]

    The receiver knows the representation; each portion of labels is sent with the probe fitted to
    all portions before it (Voita and Titov, 2020; portions :data:`PORTIONS`). From 0 to about
    log2 K, which the uniform code takes; above it, the probe misleads. Unlike accuracy it tells
    apart representations that are all read well in the end, by how many labels that takes.

    Args:
        x_SD: the representation.
        code_S: class of every sample.
        order_S: in which samples are sent, whole groups one after another.
        dimension: principal components, of all of ``x_SD`` (no label is used).

    Shapes:
        x_SD: [S, D].
    """
    x_SD, code_S = whitened_components(x_SD, x_SD, dimension)[0][order_S], code_S[order_S]
    classes = int(code_S.max()) + 1
    ends = [max(classes, round(portion * len(code_S))) for portion in PORTIONS]
    bits = ends[0] * np.log2(classes)
    for end, following in pairwise(ends):
        sent, coming = slice(0, end), slice(end, following)
        chance = np.full((following - end, classes), 1e-3 / classes)
        if len(set(code_S[sent].tolist())) > 1:
            model = _fitted(x_SD[sent], code_S[sent])
            chance[:, model.classes_] += (1 - 1e-3) * model.predict_proba(x_SD[coming])
        else:
            chance += (1 - 1e-3) / classes
        bits -= np.log2(chance[np.arange(following - end), code_S[coming]]).sum()
    return float(bits / len(code_S))


def _fitted(x_SD: Floats, code_S: Codes) -> Any:
    """Logistic regression with the penalty that does best on the last quarter."""
    from sklearn.linear_model import LogisticRegression

    def fit(penalty: float, part: NDArray[np.bool_]) -> Any:
        model = LogisticRegression(C=penalty, class_weight="balanced", max_iter=200, tol=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fit that stops early is what is measured
            return model.fit(x_SD[part], code_S[part])

    checked_S = np.arange(len(code_S)) * 4 // len(code_S) == 3
    if set(code_S[~checked_S].tolist()) != set(code_S.tolist()):
        return fit(0.1, np.ones(len(code_S), dtype=np.bool_))
    scores = []
    for penalty in PENALTIES:
        model = fit(penalty, ~checked_S)
        chance = model.predict_proba(x_SD[checked_S])
        place = np.searchsorted(model.classes_, code_S[checked_S])
        scores.append(float(np.log(np.maximum(chance[np.arange(len(place)), place], 1e-9)).mean()))
    return fit(PENALTIES[int(np.argmax(scores))], np.ones(len(code_S), dtype=np.bool_))


def whitened_components(
    known_SD: NDArray[np.floating], new_SD: NDArray[np.floating], count: int
) -> tuple[Floats, Floats]:
    """Both on the first principal components of the first, each of variance 1 there.

    Args:
        known_SD: what a map is fitted to.
        new_SD: what it is measured on.
        count: components; fewer where there are not as many.

    Shapes:
        results: [S, at most ``count``].
    """
    mean_D = known_SD.mean(axis=0, dtype=np.float64)
    known = known_SD - mean_D
    if known.shape[1] > known.shape[0]:
        value, left = np.linalg.eigh(known @ known.T)
        axes = known.T @ left
    else:
        value, axes = np.linalg.eigh(known.T @ known)
        axes = axes * np.sqrt(value.clip(0))
    value, axes = value[::-1][:count], axes[:, ::-1][:, :count]
    kept = value > 1e-10 * max(float(value[0]), 1e-300)
    scaled = axes[:, kept] / value[kept] * np.sqrt(len(known))
    return known @ scaled, (new_SD - mean_D) @ scaled
