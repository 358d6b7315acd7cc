"""Precomputed embeddings: row i of an array belongs to line i of a text file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from latticegraph.config import TeacherSettings
from latticegraph.digests import file_sha256
from latticegraph.errors import TeacherError
from latticegraph.progress import ProgressCallback
from latticegraph.teachers.protocol import Embeddings, Teacher


class ArrayTeacher(Teacher):
    """Looks embeddings up by text.

    Args:
        array: ``.npy`` file of floats [lines, D], memory-mapped.
        texts: UTF-8 text file; surrounding white space of a line does not count, and of a repeated
            line the first row is taken.
        normalize: scale embeddings to unit length.

    Raises:
        TeacherError: a file is missing or malformed, or the numbers of lines and rows differ.
    """

    def __init__(self, array: Path, texts: Path, normalize: bool = True) -> None:
        self.name = array.name
        self._array, self._texts, self._normalize = array, texts, normalize
        self._rows_ND = _open_array(array)
        lines = _read_lines(texts)
        if len(lines) != len(self._rows_ND):
            raise TeacherError(
                "teacher.texts",
                f"expected {len(self._rows_ND)} lines in '{texts}', one for each row of "
                f"'{array}', got {len(lines)}",
                "Set teacher.texts to the file that the array was computed from",
            )
        self.dimension = int(self._rows_ND.shape[1])
        self._row_of = {text: row for row, text in reversed(list(enumerate(lines)))}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of both files and of the normalisation; see :class:`Teacher`."""
        parts = (file_sha256(self._array), file_sha256(self._texts), bytes([self._normalize]))
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
                f"that are not in '{self._texts}', first '{first[:60]}'",
                "Compute the array for all texts of data.train and data.heldout",
            )
        embeddings_BD = np.asarray(self._rows_ND[rows], dtype=np.float32)
        norms_B1 = np.linalg.norm(embeddings_BD, axis=1, keepdims=True)
        usable = np.isfinite(norms_B1) & ((norms_B1 > 0) | (not self._normalize))
        if not usable.all():
            bad = int(np.flatnonzero(~usable)[0])
            raise TeacherError(
                "teacher.name",
                f"expected finite embeddings that can be scaled to unit length in '{self._array}', "
                f"got another in row {rows[bad]} (counted from 0)",
                "Compute the array anew",
            )
        if progress is not None:
            progress(len(texts))
        return embeddings_BD / norms_B1 if self._normalize else embeddings_BD


def array_teacher(settings: TeacherSettings) -> ArrayTeacher:
    """The teacher of ``teacher.name`` (``.npy``) and ``teacher.texts``.

    Raises:
        TeacherError: as for :class:`ArrayTeacher`.
    """
    array, texts = Path(str(settings.name)).expanduser(), Path(str(settings.texts)).expanduser()
    return ArrayTeacher(array, texts, settings.normalize)


def _open_array(path: Path) -> np.ndarray[Any, Any]:
    try:
        rows_ND: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise TeacherError(
            "teacher.name",
            f"expected a .npy file, got '{path}', which is not there",
            "Set teacher.name to the array file",
        ) from error
    except (OSError, ValueError, EOFError) as error:
        raise TeacherError(
            "teacher.name",
            f"expected a .npy array of floats in '{path}', got a file that is none",
            "Write it with numpy.save from an array of floats",
        ) from error
    is_array = isinstance(rows_ND, np.ndarray)
    if not is_array or rows_ND.ndim != 2 or rows_ND.dtype.kind != "f" or 0 in rows_ND.shape:
        found = f"{rows_ND.dtype} {list(rows_ND.shape)}" if is_array else "an archive"
        raise TeacherError(
            "teacher.name",
            f"expected floats of shape [texts, dimension] in '{path}', got {found}",
            "Write it with numpy.save from an array of floats",
        )
    opened: np.ndarray[Any, Any] = rows_ND
    return opened


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
