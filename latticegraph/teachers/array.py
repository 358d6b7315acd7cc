"""Precomputed embeddings, looked up by text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from latticegraph.config import TeacherSettings
from latticegraph.digests import file_sha256
from latticegraph.errors import TeacherError
from latticegraph.progress import ProgressCallback
from latticegraph.teachers.protocol import Embeddings, Teacher
from latticegraph.teachers.stored_rows import StoredRows, open_rows


class ArrayTeacher(Teacher):
    """Looks embeddings up by text.

    Args:
        rows: file of floats [lines, D], or folder of such files; see
            :func:`~latticegraph.teachers.stored_rows.open_rows`.
        texts: UTF-8 text file; surrounding white space of a line does not count, and of a repeated
            line the first row is taken. None: the files of ``rows`` hold the texts.
        normalize: scale embeddings to unit length.

    Raises:
        TeacherError: a file is missing or malformed, or the numbers of lines and rows differ.
    """

    def __init__(self, rows: Path, texts: Path | None, normalize: bool = True) -> None:
        self.name = rows.name
        self._normalize = normalize
        self._rows = open_rows(rows)
        self._where = rows if texts is None else texts
        self._files = [*self._rows.files, *(() if texts is None else (texts,))]
        lines = _own_texts(self._rows, rows) if texts is None else _read_lines(texts)
        if len(lines) != len(self._rows):
            raise TeacherError(
                "teacher.texts",
                f"expected {len(self._rows)} lines in '{texts}', one for each row of "
                f"'{rows}', got {len(lines)}",
                "Set teacher.texts to the file that the rows were computed from",
            )
        self.dimension = self._rows.dimension
        self._row_of = {text: row for row, text in reversed(list(enumerate(lines)))}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all files and of the normalisation; see :class:`Teacher`."""
        parts = (*(file_sha256(file) for file in self._files), bytes([self._normalize]))
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def encode(self, texts: Sequence[str], progress: ProgressCallback | None = None) -> Embeddings:
        """Embed ``texts``; see :class:`Teacher`."""
        found = [self._row_of.get(text.strip()) for text in texts]
        rows = [row for row in found if row is not None]
        if len(rows) < len(texts):
            first = texts[found.index(None)]
            raise TeacherError(
                "teacher.texts",
                f"expected a row for every text, got {len(texts) - len(rows)} of {len(texts)} "
                f"that are not in '{self._where}', first '{first[:60]}'",
                "Compute rows for all texts of data.train and data.heldout",
            )
        embeddings_BD = self._rows.take(rows)
        norms_B1 = np.linalg.norm(embeddings_BD, axis=1, keepdims=True)
        usable = np.isfinite(norms_B1) & ((norms_B1 > 0) | (not self._normalize))
        if not usable.all():
            bad = int(np.flatnonzero(~usable)[0])
            raise TeacherError(
                "teacher.name",
                f"expected finite embeddings that can be scaled to unit length in '{self._where}', "
                f"got another in row {rows[bad]} (counted from 0)",
                "Compute the rows anew",
            )
        if progress is not None:
            progress(len(texts))
        return embeddings_BD / norms_B1 if self._normalize else embeddings_BD


def array_teacher(settings: TeacherSettings) -> ArrayTeacher:
    """The teacher of ``teacher.name`` (rows) and ``teacher.texts``.

    Raises:
        TeacherError: as for :class:`ArrayTeacher`.
    """
    texts = None if settings.texts is None else Path(settings.texts).expanduser()
    return ArrayTeacher(Path(str(settings.name)).expanduser(), texts, settings.normalize)


def _own_texts(rows: StoredRows, path: Path) -> list[str]:
    if rows.texts is None:
        raise TeacherError(
            "teacher.texts",
            f"expected the text file that owns the rows of '{path}', which holds no texts itself, "
            "got null",
            "Set teacher.texts",
        )
    return [text.strip() for text in rows.texts]


def _read_lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise TeacherError(
            "teacher.texts",
            f"expected a text file, got '{path}', which is not there",
            "Set teacher.texts to the file that the array was computed from",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise TeacherError(
            "teacher.texts",
            f"expected UTF-8 text in '{path}', got: {error}",
            "Save the file as UTF-8",
        ) from error
    return [line.strip() for line in text.removesuffix("\n").split("\n")]
