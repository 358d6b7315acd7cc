"""The base class of all teachers. Shape suffixes: B texts, D width of the embeddings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from latticegraph.progress import ProgressCallback

Embeddings = NDArray[np.float32]
TokenCounter = Callable[[Sequence[str]], list[int]]


class Teacher(ABC):
    """A frozen map from text to an embedding.

    A class of your own, named by its path in ``teacher.kind``, is called with
    ``teacher.dimension`` and the options.

    Attributes:
        name: shown in logs, messages and the cache.
        dimension: width D of the embeddings.
        arithmetic: what decides the last bits of an embedding beside the fingerprint, for instance
            the device; the cache keeps embeddings of different arithmetic apart. Empty where the
            fingerprint decides all bits. The other texts of a call must not matter.
        max_tokens: most tokens it reads of one text; None where it reads no tokens.
    """

    name: str
    dimension: int
    arithmetic: str = ""
    max_tokens: int | None = None

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """64 hexadecimal digits over everything that decides the embeddings.

        Two teachers with the same fingerprint give the same embedding for every text; a change of
        weights, tokenizer, pooling, normalisation or length limit changes it.
        """

    @abstractmethod
    def encode(self, texts: Sequence[str], progress: ProgressCallback | None = None) -> Embeddings:
        """Embed ``texts``.

        Args:
            texts: B texts; repeated texts are embedded repeatedly.
            progress: called with the number of texts just finished, after every batch.

        Shapes:
            returns float32 [B, D], row i for ``texts[i]``, all finite.

        Raises:
            TeacherError: a text cannot be embedded.
        """

    def count_cut(self, texts: Sequence[str]) -> int:
        """How many of ``texts`` are longer than what the teacher reads of them; 0 where all fit.

        Args:
            texts: any number of texts.
        """
        return 0

    def expected_seconds(self, texts: Sequence[str]) -> float | None:
        """About how long :meth:`encode` will take for ``texts``; None where it cannot tell.

        Args:
            texts: any number of texts.
        """
        return None

    def load(self) -> None:  # noqa: B027
        """Load now what the first text would load; nothing by default."""

    def token_counter(self) -> TokenCounter:
        """A function that counts the tokens of each text, before any cut.

        It shares nothing with :meth:`encode`, so that another thread may call it meanwhile. Of a
        teacher that reads no tokens every text counts as one.
        """
        return lambda texts: [1] * len(texts)
