"""Text out of an embedding, by the nearest known sentence.

Legend: B predictions, N known sentences, D teacher width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from latticegraph.decoding.decoder import Decoder, check_k, checked_rows, unit_rows
from latticegraph.errors import DataError

_BLOCK_NUMBERS = 4_000_000  # 32 MB of similarities at a time


@dataclass(frozen=True)
class DecodedText:
    """A known sentence near a prediction.

    Args:
        text: the sentence.
        cosine: its cosine with the prediction, rounded to 9 decimals; 0 for a prediction of zeros.
        index: its place in the list that the decoder was built from (the first, where it is
            repeated).
    """

    text: str
    cosine: float
    index: int

    @property
    def score(self) -> float:
        """The cosine."""
        return self.cosine


class TextDecoder(Decoder):
    """Nearest sentences by cosine; nothing is learned.

    Repeated sentences count once. Cosines are rounded to 9 decimals and ties go to the earlier
    sentence, so the answer depends neither on the batch nor on the order of a sum.

    Args:
        texts: known sentences.
        embeddings_ND: their embeddings, row i belongs to text i.

    Shapes:
        embeddings_ND: [N, D]

    Raises:
        DataError: for no texts, shapes that do not match, or numbers that are not finite.

    >>> decoder = TextDecoder(["yes", "no"], np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> decoder.decode(np.array([[0.6, 0.8]]))[0][0]
    DecodedText(text='no', cosine=0.8, index=1)
    """

    def __init__(self, texts: Sequence[str], embeddings_ND: NDArray[np.floating] | Tensor) -> None:
        rows_ND = checked_rows("decoder.embeddings", embeddings_ND)
        if len(texts) != len(rows_ND):
            raise DataError(
                "decoder.embeddings",
                f"expected one row per text ({len(texts)}), got {len(rows_ND)}",
                "Embed exactly the texts that are passed",
            )
        if not texts:
            raise DataError("decoder.texts", "expected at least one text, got none", "Add texts")
        first: dict[str, int] = {}
        for index, text in enumerate(texts):
            first.setdefault(text, index)
        self.texts = tuple(first)
        self._indices = tuple(first.values())
        self._unit_DN = unit_rows(rows_ND[list(self._indices)]).T

    @property
    def width(self) -> int:
        """Width D of the embeddings."""
        return len(self._unit_DN)

    @property
    def most(self) -> int:
        """Number of distinct sentences."""
        return len(self.texts)

    def decode(
        self, prediction_BD: NDArray[np.floating] | Tensor, k: int = 1
    ) -> list[list[DecodedText]]:
        """The ``k`` nearest sentences of each prediction, nearest first.

        Args:
            prediction_BD: embeddings in the teacher's space, of any length.
            k: how many, from 1 to the number of distinct sentences.

        Shapes:
            prediction_BD: [B, D]; result: B lists of k.

        Raises:
            DataError: for another width, numbers that are not finite, or a k out of range.
        """
        unit_BD = unit_rows(checked_rows("prediction", prediction_BD, self.width))
        check_k(k, self.most)
        size = max(1, _BLOCK_NUMBERS // self.most)
        decoded: list[list[DecodedText]] = []
        for start in range(0, len(unit_BD), size):
            cosine_BN = (unit_BD[start : start + size] @ self._unit_DN).round(9)
            order_BK = np.argsort(-cosine_BN, axis=1, kind="stable")[:, :k]
            best_BK = np.take_along_axis(cosine_BN, order_BK, axis=1)
            decoded += [self._name(*row) for row in zip(order_BK, best_BK, strict=True)]
        return decoded

    def _name(self, order_K: NDArray[np.int64], cosine_K: NDArray[np.float64]) -> list[DecodedText]:
        return [
            DecodedText(self.texts[place], float(cosine), self._indices[place])
            for place, cosine in zip(order_K.tolist(), cosine_K, strict=True)
        ]
