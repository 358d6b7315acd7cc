"""What every decoder is: embeddings in, texts with scores out.

Legend: B embeddings, D teacher width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from latticegraph.config.section import Section
from latticegraph.errors import DataError, TeacherError


class ScoredText(Protocol):
    """A text and how well it fits, higher is better."""

    @property
    def text(self) -> str:
        """The text."""

    @property
    def score(self) -> float:
        """Comparable among the texts of one embedding."""


class Decoder(ABC):
    """Embeddings of a teacher to texts.

    A decoder is finished when it is made: it has no gradient and no training mode, so that whatever
    else trains leaves it as it is.
    """

    @property
    @abstractmethod
    def width(self) -> int:
        """Width D of the embeddings."""

    @property
    @abstractmethod
    def most(self) -> int:
        """Texts that there are for one embedding."""

    @abstractmethod
    def decode(
        self, prediction_BD: NDArray[np.floating] | Tensor, k: int = 1
    ) -> Sequence[Sequence[ScoredText]]:
        """The ``k`` best texts of each embedding, best first.

        Args:
            prediction_BD: embeddings in the teacher's space, of any length.
            k: how many, from 1 to :attr:`most`.

        Shapes:
            prediction_BD: [B, D]; result: B lists of at most k.

        Raises:
            DataError: for another width, numbers that are not finite, or a k out of range.
        """


class KnownTeacher(Section):
    """The teacher whose embeddings a stored decoder reads."""

    name: str = Field(description="name shown in logs")
    dimension: int = Field(ge=1, description="width of the embeddings")
    fingerprint: str = Field(
        pattern="^[0-9a-f]{64}$", description="SHA-256 over all that decides the embeddings"
    )

    def check(self, where: str, name: str, fingerprint: str) -> None:
        """Refuse another teacher.

        Args:
            where: what belongs to this teacher, for the message.
            name: of the other one.
            fingerprint: of the other one.

        Raises:
            TeacherError: it is another one.
        """
        if fingerprint != self.fingerprint:
            raise TeacherError(
                where,
                f"expected embeddings of '{self.name}' (fingerprint {self.fingerprint[:12]}), got "
                f"those of '{name}' ({fingerprint[:12]})",
                "Use a decoder that was made with the same teacher",
            )


def checked_rows(
    name: str, value: NDArray[np.floating] | Tensor, width: int | None = None
) -> NDArray[np.float64]:
    """Embeddings as float64, after a look at shape and numbers.

    Args:
        name: for messages.
        value: rows.
        width: D that is expected; None: any.

    Shapes:
        value: [B, D].

    Raises:
        DataError: another number of dimensions, another width, or NaN or infinity.
    """
    if isinstance(value, Tensor):
        value = value.detach().double().cpu().numpy()
    array: NDArray[np.float64] = np.asarray(value, dtype=np.float64)
    if array.ndim != 2:
        raise DataError(
            name,
            f"expected one row per sample [B, D], got shape {array.shape}",
            "Add a batch dimension with [None] where there is one sample",
        )
    if not np.isfinite(array).all():
        raise DataError(name, "expected finite numbers, got NaN or infinity", "Check the model")
    if width is not None and array.shape[1] != width:
        raise DataError(
            name,
            f"expected width {width} as the known sentences have, got {array.shape[1]}",
            "Decode with sentences embedded by the same teacher",
        )
    return array


def check_k(k: int, most: int) -> None:
    """Refuse a number of texts that there are not.

    Args:
        k: asked for.
        most: there are.

    Raises:
        DataError: k is below 1 or above ``most``.
    """
    if not 1 <= k <= most:
        raise DataError("k", f"expected 1 to {most} sentences, got {k}", "Choose another k")


def unit_rows(array_BD: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length 1; a row of zeros stays.

    Shapes:
        array_BD: [B, D].
    """
    length_B1 = np.linalg.norm(array_BD, axis=1, keepdims=True)
    unit_BD: NDArray[np.float64]
    unit_BD = np.divide(array_BD, length_B1, out=np.zeros_like(array_BD), where=length_B1 > 0)
    return unit_BD
