"""What every teacher offers. Shape suffixes: B texts, D width of the embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.float32]
Progress = Callable[[int], None]


class Teacher(Protocol):
    """A frozen map from text to an embedding."""

    @property
    def name(self) -> str:
        """Name shown in logs, messages and the cache."""

    @property
    def dimension(self) -> int:
        """Width D of the embeddings."""

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits over everything that decides the embeddings.

        Two teachers with the same fingerprint give the same embedding for every text; a change of
        weights, tokenizer, pooling, normalisation or length limit changes it.
        """

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Embeddings:
        """Embed ``texts``.

        Args:
            texts: B texts; repeated texts are embedded repeatedly.
            progress: called with the number of texts just finished, after every batch.

        Shapes:
            returns float32 [B, D], row i for ``texts[i]``, all finite.

        Raises:
            TeacherError: a text cannot be embedded.
        """
