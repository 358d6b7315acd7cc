"""How much of the meaning a decoded embedding keeps.

Legend: N texts, D teacher width, Q queries, K neighbours, P pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import Floats, checked_prediction
from latticegraph.evaluation.metrics import ExplainedVariance
from latticegraph.evaluation.ranking import unit_rows
from latticegraph.evaluation.sts import sts_spearman

NEIGHBOURS = 10
_TEXTS, _QUERIES, _PAIRS = 10_000, 2_000, 200_000
_BLOCK = 500  # queries at a time: 20 MB of float32 cosines with 10,000 texts

RoundTrip = Callable[[Floats], Floats]


class CodecQuality:
    """Measures decoded embeddings of held-out texts against those of the teacher.

    At most 10,000 texts are used, evenly spread. Neighbours are by plain cosine, among all of them,
    the text itself left out; both sides of a comparison are decoded, as in a store that keeps codes
    only. At most 2,000 texts ask for their neighbours, at most 200,000 random pairs are ranked.

    Args:
        heldout_ND: the teacher's embeddings of texts that nothing was fitted to.
        train_mean_D: mean of the training embeddings.
        sts: STS pairs; None leaves that column out.
        embed: the teacher, from texts to embeddings; needed with ``sts``.

    Shapes:
        heldout_ND: [N, D]; train_mean_D: [D].

    Raises:
        DataError: for fewer than 12 texts.
    """

    def __init__(
        self,
        heldout_ND: Floats,
        train_mean_D: Floats,
        sts: str | Path | None = None,
        embed: Callable[[Sequence[str]], Floats] | None = None,
    ) -> None:
        if len(heldout_ND) < NEIGHBOURS + 2:
            raise DataError(
                "--data",
                f"expected at least {NEIGHBOURS + 2} unseen texts to look for {NEIGHBOURS} "
                f"neighbours among, got {len(heldout_ND)}",
                "Name a file with more text",
            )
        self.source_ND: Floats = heldout_ND[_spread(len(heldout_ND), _TEXTS)]
        self.train_mean_D = train_mean_D
        self.sts, self.embed = sts, embed
        count = len(self.source_ND)
        self.queries_Q = _spread(count, _QUERIES)
        self.neighbours_QK = nearest(self.source_ND, self.queries_Q)
        self.pairs_2P = _pairs(count, _PAIRS)
        self.cosines_P = _pair_cosines(self.source_ND, self.pairs_2P)

    @property
    def counts(self) -> dict[str, int]:
        """How many texts, queries and pairs are measured."""
        return {
            "texts": len(self.source_ND),
            "queries": len(self.queries_Q),
            "pairs": self.pairs_2P.shape[1],
        }

    def measure(self, round_trip: RoundTrip) -> dict[str, float]:
        """Explained variance, Recall@10 of true neighbours and rank correlations.

        Args:
            round_trip: from embeddings to what is left of them, [N, D] to [N, D].

        Returns:
            ``explained_variance``, ``recall_at_10``, ``cosine_spearman``, and ``sts_spearman``
            where STS pairs were given.

        Raises:
            DataError: the result has another shape or is not finite.
        """
        decoded, source, mean = checked_prediction(
            round_trip(self.source_ND), self.source_ND, self.train_mean_D
        )
        found_QK = nearest(decoded, self.queries_Q)
        values = {
            "explained_variance": ExplainedVariance().compute(decoded, source, mean),
            "recall_at_10": overlap(found_QK, self.neighbours_QK),
            "cosine_spearman": spearman(_pair_cosines(decoded, self.pairs_2P), self.cosines_P),
        }
        if self.sts is not None and self.embed is not None:
            embed = self.embed
            values["sts_spearman"] = sts_spearman(self.sts, lambda texts: round_trip(embed(texts)))
        return values


def nearest(embedding_ND: Floats, queries_Q: NDArray[np.intp]) -> NDArray[np.intp]:
    """The 10 rows of the largest cosine with each query, without the query itself.

    Args:
        embedding_ND: all rows.
        queries_Q: which of them ask.

    Shapes:
        embedding_ND: [N, D]; queries_Q: [Q]; result: [Q, 10], in no particular order.
    """
    unit_ND = unit_rows(embedding_ND).astype(np.float32)
    parts = []
    for start in range(0, len(queries_Q), _BLOCK):
        block = queries_Q[start : start + _BLOCK]
        cosine = unit_ND[block] @ unit_ND.T
        cosine[np.arange(len(block)), block] = -np.inf
        parts.append(np.argpartition(-cosine, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS])
    return np.concatenate(parts)


def overlap(found_QK: NDArray[np.intp], true_QK: NDArray[np.intp]) -> float:
    """Mean share of the true neighbours that were found.

    Shapes:
        found_QK, true_QK: [Q, K].
    """
    return float((found_QK[:, :, None] == true_QK[:, None, :]).any(axis=1).mean())


def spearman(first_P: Floats, second_P: Floats) -> float:
    """Rank correlation, -1 to 1; 0 where one side is constant and ranks nothing.

    Values are rounded to 9 decimals, so that equal ones tie.

    Shapes:
        first_P, second_P: [P].
    """
    first_P, second_P = first_P.round(9), second_P.round(9)
    if np.ptp(first_P) == 0 or np.ptp(second_P) == 0:
        return 0.0
    # Takes most of a second to import.
    from scipy.stats import spearmanr

    return float(spearmanr(first_P, second_P).statistic)


def _spread(count: int, most: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))


def _pairs(count: int, most: int) -> NDArray[np.intp]:
    """Different pairs of different texts: all of them, or a random part that is always the same."""
    if count * (count - 1) // 2 <= most:
        return np.stack(np.triu_indices(count, 1))
    random = np.random.default_rng(0)
    first_P = random.integers(0, count, most)
    second_P = (first_P + random.integers(1, count, most)) % count
    return np.stack([first_P, second_P])


def _pair_cosines(embedding_ND: Floats, pairs_2P: NDArray[np.intp]) -> Floats:
    unit_ND = unit_rows(embedding_ND)
    cosines_P: Floats = np.einsum("pd,pd->p", unit_ND[pairs_2P[0]], unit_ND[pairs_2P[1]])
    return cosines_P
