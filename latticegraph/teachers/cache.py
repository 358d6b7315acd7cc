"""Embeddings on disk, so that every text is embedded once. Shape suffixes: B texts, D width."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from latticegraph.config import TeacherSettings
from latticegraph.errors import TeacherError
from latticegraph.teachers.progress import show_progress
from latticegraph.teachers.protocol import Embeddings, Teacher
from latticegraph.teachers.store import RowStore, text_digest

logger = logging.getLogger(__name__)

BLOCK_TEXTS = 256
_OLD_FOLDER = re.compile(r"[0-9a-f]{64}")


class EmbeddingCache:
    """A teacher that remembers what it embedded, on disk and across processes.

    ``teacher.cache_dir`` holds one set of LMDB files with a database for every teacher, named by
    its fingerprint and arithmetic, so a changed teacher or another device never reads old
    embeddings. New texts are stored in blocks as they are finished: a first pass that is killed
    goes on where it stopped, and what another process stored meanwhile is not embedded again. Every
    row that is read is compared with its checksum; damaged rows are embedded again.

    ``hits`` and ``misses`` count the different texts of each call of :meth:`embed`: stored when it
    was called, or not. ``teacher.max_cache_size_gb`` bounds all teachers together: the rows of the
    least recently used others are dropped first.

    Args:
        settings: ``cache_dir``, ``max_cache_size_gb`` and ``batch_size`` apply.
        teacher: embeds the texts that are not stored.
    """

    def __init__(self, settings: TeacherSettings, teacher: Teacher) -> None:
        self.teacher = teacher
        self.hits = 0
        self.misses = 0
        self._block = max(1, BLOCK_TEXTS // settings.batch_size) * settings.batch_size
        self._folder = Path(settings.cache_dir).expanduser()
        self._store = RowStore(self._folder, teacher, settings.max_cache_size_gb)
        self._old_named = False

    @property
    def folder(self) -> Path:
        """Where the embeddings of all teachers lie."""
        return self._store.folder

    @property
    def hit_rate(self) -> float:
        """Share of the different texts asked for that were stored, 0 to 1; 0 before any text."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """The embeddings of ``texts``, computed where they are not stored yet.

        Args:
            texts: B texts, repeated ones allowed.

        Shapes:
            returns float32 [B, D], row i for ``texts[i]``.

        Raises:
            TeacherError: the teacher cannot embed a text.
            CacheError: the cache is foreign, too small, or cannot be written.
        """
        self._name_old_folders()
        text_of = {text_digest(text): text for text in texts}
        row_of, damaged = self._store.read(list(text_of))
        if damaged:
            logger.warning(
                "%s of %s embeddings in '%s' are damaged and are computed again",
                len(damaged),
                len(text_of),
                self.folder,
            )
        # Sorted by length for batches without padding, by text for a fixed order.
        missing = sorted(
            (key for key in text_of if key not in row_of),
            key=lambda key: (len(text_of[key]), text_of[key]),
        )
        self.hits += len(row_of)
        self.misses += len(missing)
        if missing:
            self._store.check_room(len(missing))
            row_of |= self._embed_missing(missing, text_of)
        embeddings_BD = np.empty((len(texts), self.teacher.dimension), dtype=np.float32)
        for row_D, text in zip(embeddings_BD, texts, strict=True):
            row_D[:] = row_of[text_digest(text)]
        return embeddings_BD

    def _embed_missing(
        self, keys: list[bytes], text_of: dict[bytes, str]
    ) -> dict[bytes, Embeddings]:
        row_of: dict[bytes, Embeddings] = {}
        with show_progress(f"embedding with {self.teacher.name}", len(keys)) as progress:
            for start in range(0, len(keys), self._block):
                block = keys[start : start + self._block]
                # Another process may have embedded them while this one was at earlier blocks.
                found, _ = self._store.read(block)
                progress(len(found))
                wanted = [key for key in block if key not in found]
                row_of |= found
                if wanted:
                    rows_BD = self.teacher.encode([text_of[key] for key in wanted], progress)
                    self._check_rows(rows_BD, len(wanted))
                    self._store.append(wanted, rows_BD)
                    row_of |= zip(wanted, rows_BD, strict=True)
        return row_of

    def _check_rows(self, rows_BD: Embeddings, count: int) -> None:
        shape = (count, self.teacher.dimension)
        if rows_BD.shape != shape or rows_BD.dtype != np.float32:
            problem = f"{rows_BD.dtype} {list(rows_BD.shape)}"
        elif not np.isfinite(rows_BD).all():
            problem = "NaN or infinity"
        else:
            return
        raise TeacherError(
            "teacher.kind",
            f"expected finite float32 {list(shape)} from '{self.teacher.name}', got {problem}",
            "Correct its method encode",
        )

    def _name_old_folders(self) -> None:
        """Say where embeddings lie that an earlier version stored; their last bits may differ."""
        if self._old_named or not self._folder.is_dir():
            return
        self._old_named = True
        for folder in sorted(self._folder.iterdir()):
            rows = folder / "rows.f32"
            if _OLD_FOLDER.fullmatch(folder.name) and rows.is_file():
                logger.warning(
                    "'%s' holds embeddings (%.1f MB) of an earlier version of latticegraph, which "
                    "are no longer read: delete it and '%s.lock'",
                    folder,
                    rows.stat().st_size / 1e6,
                    folder,
                )
