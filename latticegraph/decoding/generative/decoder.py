"""The decoder that writes: a transformer, its vocabulary, and a way to choose among its texts.

Legend: B embeddings, D teacher width, K candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latticegraph.config.decoder import Method, WritingSettings
from latticegraph.decoding.decoder import Decoder, KnownTeacher, check_k, checked_rows, unit_rows
from latticegraph.decoding.generative.network import CausalTransformer
from latticegraph.decoding.generative.vocabulary import Vocabulary
from latticegraph.decoding.generative.writing import Written, write_drawn, write_likely
from latticegraph.errors import ConfigError

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
"""A teacher's ``encode``: texts to embeddings."""

ROWS = 64
"""Embeddings that are written at once."""


@dataclass(frozen=True)
class WrittenText:
    """A text that a decoder wrote.

    Args:
        text: the text; it may be empty.
        score: with the method ``best`` the cosine of its own embedding with the one it was written
            from, else the mean log-probability of its tokens.
    """

    text: str
    score: float


class GenerativeDecoder(Decoder):
    """Writes a text for an embedding, token by token.

    Args:
        network: its weights; they are frozen here.
        vocabulary: of the network's tokens.
        teacher: whose embeddings it reads.
        settings: how tokens are chosen.
        encode: of that teacher; needed by the method ``best`` alone.
    """

    def __init__(
        self,
        network: CausalTransformer,
        vocabulary: Vocabulary,
        teacher: KnownTeacher,
        settings: WritingSettings | None = None,
        encode: Encode | None = None,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.vocabulary = vocabulary
        self.teacher = teacher
        self.settings = settings or WritingSettings()
        self.encode = encode

    def using(self, method: Method) -> GenerativeDecoder:
        """The same decoder with another way to choose tokens.

        Args:
            method: in place of ``writing.method``.
        """
        settings = self.settings.model_copy(update={"method": method})
        return GenerativeDecoder(self.network, self.vocabulary, self.teacher, settings, self.encode)

    @property
    def width(self) -> int:
        """Width D of the embeddings."""
        return self.network.dimension

    def decode(
        self, prediction_BD: NDArray[np.floating] | Tensor, k: int = 1
    ) -> list[list[WrittenText]]:
        """The ``k`` best texts of each embedding, best first; texts that are equal count once.

        Args:
            prediction_BD: embeddings in the teacher's space, of any length.
            k: how many, from 1 to the number of texts that the method writes.

        Shapes:
            prediction_BD: [B, D]; result: B lists of at most k.

        Raises:
            DataError: for another width, numbers that are not finite, or a k out of range.
            ConfigError: the method is ``best`` and there is no teacher to compare with.
        """
        unit_BD = unit_rows(checked_rows("prediction", prediction_BD, self.width))
        check_k(k, self.most)
        if self.settings.method == "best" and self.encode is None:
            raise ConfigError(
                "writing.method",
                "expected a teacher for the method 'best', got none",
                "Pass its encode, or choose greedy, beam or sample",
            )
        made: list[list[WrittenText]] = []
        # Texts must not depend on how rows were normalised elsewhere: float32 comes last.
        rows_BD = torch.from_numpy(unit_BD.astype(np.float32))
        for embedding_BD in rows_BD.split(ROWS):
            candidates = [self._texts(row) for row in self._write(embedding_BD)]
            if self.settings.method == "best":
                candidates = self._by_cosine(candidates, embedding_BD)
            made += [_best(row, k) for row in candidates]
        return made

    @property
    def most(self) -> int:
        """Texts that the method writes for one embedding."""
        counts = {"best": self.settings.candidates, "beam": self.settings.beams}
        return counts.get(self.settings.method, 1)

    def _write(self, embedding_BD: Tensor) -> list[list[Written]]:
        settings = self.settings
        likely = write_likely(
            self.network, embedding_BD, settings.beams if settings.method == "beam" else 1
        )
        if settings.method in ("greedy", "beam") or (
            settings.method == "best" and settings.candidates == 1
        ):
            return likely
        drawn = write_drawn(
            self.network,
            embedding_BD,
            settings.candidates - 1 if settings.method == "best" else 1,
            settings.temperature,
            settings.top_p,
            settings.seed,
        )
        if settings.method == "sample":
            return drawn
        return [[*first, *others] for first, others in zip(likely, drawn, strict=True)]

    def _texts(self, row: Sequence[Written]) -> list[WrittenText]:
        texts = self.vocabulary.decode([one.ids for one in row])
        return [WrittenText(text, one.score) for text, one in zip(texts, row, strict=True)]

    def _by_cosine(
        self, candidates: list[list[WrittenText]], embedding_BD: Tensor
    ) -> list[list[WrittenText]]:
        """The same texts, scored by the cosine of their own embeddings."""
        assert self.encode is not None
        unit_BD = embedding_BD.double().numpy()
        texts = list({one.text: None for row in candidates for one in row if one.text})
        cosine_of: list[dict[str, float]] = [{"": -1.0} for _ in candidates]
        if texts:
            made_ND = unit_rows(self.encode(texts).astype(np.float64))
            place_of = {text: place for place, text in enumerate(texts)}
            for row, known, unit_D in zip(candidates, cosine_of, unit_BD, strict=True):
                for one in row:
                    if one.text:
                        known[one.text] = float(made_ND[place_of[one.text]] @ unit_D)
        return [
            [WrittenText(one.text, known[one.text]) for one in row]
            for row, known in zip(candidates, cosine_of, strict=True)
        ]


def _best(row: Sequence[WrittenText], k: int) -> list[WrittenText]:
    different = {one.text: one for one in reversed(row)}
    return sorted(different.values(), key=lambda one: (-one.score, one.text))[:k]
