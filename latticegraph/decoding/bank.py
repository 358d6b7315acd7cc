"""Nearest sentences of a bank of up to millions, found block by block.

Legend: B queries, N sentences, D teacher width, R rows of a block.
"""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from latticegraph.decoding.bank_files import BankFiles, read_bank
from latticegraph.decoding.decoder import Decoder, KnownTeacher, check_k, checked_rows, unit_rows
from latticegraph.decoding.text_decoder import DecodedText

BLOCK_ROWS = 16_384  # 25 MB of rows of 384 numbers
BLOCK_QUERIES = 256  # 17 MB of similarities
# The float32 sum of D products of two rows of length 1 differs from the exact one by less than
# D times its rounding; rows whose cosine could be among the best are computed again in float64.
_ROUNDING = float(np.finfo(np.float32).eps)


class BankDecoder(Decoder):
    """The nearest sentences of a stored bank by cosine, exactly.

    It gives what :class:`TextDecoder` gives for the same rows: float32 products only choose which
    rows are compared in float64. A block of rows and one of similarities is all that is in memory,
    beside the pages of the file that the system keeps.

    Args:
        files: of the bank.

    Example::

        decoder = BankDecoder.open(Path("bank"))
        decoder.decode(embeddings, k=3)[0][0].text
    """

    def __init__(self, files: BankFiles) -> None:
        self._files = files

    @classmethod
    def open(cls, folder: Path) -> BankDecoder:
        """Open a folder that ``latticegraph bank`` wrote; see :func:`read_bank`.

        Args:
            folder: of the bank.

        Raises:
            CheckpointError: a file is missing or damaged.
        """
        return cls(read_bank(folder))

    @property
    def teacher(self) -> KnownTeacher:
        """Whose embeddings the rows are."""
        return self._files.teacher

    @property
    def width(self) -> int:
        """Width D of the embeddings."""
        return self._files.teacher.dimension

    @property
    def most(self) -> int:
        """Number of sentences."""
        return len(self._files.rows_ND)

    def decode(
        self, prediction_BD: NDArray[np.floating] | Tensor, k: int = 1
    ) -> list[list[DecodedText]]:
        """The ``k`` nearest sentences of each embedding, nearest first; ties go to the earlier one.

        Args:
            prediction_BD: embeddings in the teacher's space, of any length.
            k: how many, from 1 to the number of sentences.

        Shapes:
            prediction_BD: [B, D]; result: B lists of k.

        Raises:
            DataError: for another width, numbers that are not finite, or a k out of range.
        """
        unit_BD = unit_rows(checked_rows("prediction", prediction_BD, self.width))
        check_k(k, self.most)
        decoded: list[list[DecodedText]] = []
        for start in range(0, len(unit_BD), BLOCK_QUERIES):
            block_BD = unit_BD[start : start + BLOCK_QUERIES]
            near = self._near(block_BD, k)
            decoded += [self._best(*pair, k) for pair in zip(block_BD, near, strict=True)]
        return decoded

    def _near(self, unit_BD: NDArray[np.float64], k: int) -> list[NDArray[np.int64]]:
        """For each query the places of all rows that may be among its ``k`` nearest."""
        rows_ND, margin = self._files.rows_ND, 2 * self.width * _ROUNDING
        query_DB = np.ascontiguousarray(unit_BD.T.astype(np.float32))
        found = [_Candidates(k, margin) for _ in unit_BD]
        for start in range(0, len(rows_ND), BLOCK_ROWS):
            block_RD = rows_ND[start : start + BLOCK_ROWS]
            length_R = np.sqrt(np.einsum("rd,rd->r", block_RD, block_RD))
            cosine_RB = block_RD @ query_DB
            cosine_RB /= np.where(length_R > 0, length_R, 1)[:, None]
            least_B = np.array([one.least for one in found], dtype=np.float32)
            if start == 0:  # no bound is known yet
                kept = min(k, len(block_RD))
                least_B = np.partition(cosine_RB, -kept, axis=0)[-kept] - np.float32(margin)
            place, query = np.nonzero(cosine_RB >= least_B)
            order = np.argsort(query, kind="stable")
            place, query = place[order], query[order]
            bounds = np.searchsorted(query, np.arange(len(found) + 1))
            for index, one in enumerate(found):
                chosen = place[bounds[index] : bounds[index + 1]]
                one.add(chosen + start, cosine_RB[chosen, index])
            _let_go(rows_ND, start + len(block_RD))
        return [one.places for one in found]

    def _best(
        self, unit_D: NDArray[np.float64], places: NDArray[np.int64], k: int
    ) -> list[DecodedText]:
        rows = unit_rows(self._files.rows_ND[places].astype(np.float64))
        # A row may bring in two megabytes around it.
        _let_go(self._files.rows_ND, len(self._files.rows_ND))
        cosine = (rows @ unit_D).round(9)
        order = np.lexsort((places, -cosine))[:k]
        return [
            DecodedText(self._files.text(int(places[i])), float(cosine[i]), int(places[i]))
            for i in order
        ]


class _Candidates:
    """The rows that may be among the nearest of one query."""

    def __init__(self, k: int, margin: float) -> None:
        self._k, self._margin = k, margin
        self.places = np.empty(0, dtype=np.int64)
        self._cosines = np.empty(0, dtype=np.float32)
        self.least = -np.inf

    def add(self, places: NDArray[np.int64], cosines: NDArray[np.float32]) -> None:
        """Take in the rows of a block, and drop those that are too far by now."""
        if not len(places):
            return
        self.places = np.concatenate([self.places, places])
        self._cosines = np.concatenate([self._cosines, cosines])
        if len(self.places) < self._k:
            return
        self.least = float(np.partition(self._cosines, -self._k)[-self._k]) - self._margin
        kept = self._cosines >= np.float32(self.least)
        self.places, self._cosines = self.places[kept], self._cosines[kept]


def _let_go(rows_ND: NDArray[np.float32], rows: int) -> None:
    """Give the pages of the rows so far back to the system, which keeps them where it can."""
    mapped = getattr(rows_ND, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        page = mmap.ALLOCATIONGRANULARITY
        length = (rows_ND.offset + rows * rows_ND.strides[0]) // page * page  # type: ignore[attr-defined]
        if length:
            mapped.madvise(mmap.MADV_DONTNEED, 0, length)
