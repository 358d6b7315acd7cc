"""Embeddings on disk, so that every text is embedded once.

Shape suffixes: B texts, U different texts, D width.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from latticegraph.config import TeacherSettings
from latticegraph.errors import TeacherError
from latticegraph.progress import duration, show_progress
from latticegraph.teachers.protocol import Embeddings, Teacher
from latticegraph.teachers.store import RowStore, text_digest

logger = logging.getLogger(__name__)

BLOCK_TEXTS = 256
READ_TOGETHER = 8192  # rows that are held twice
SAID_ABOVE = 5.0  # seconds
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
        keys, different = list(text_of), list(text_of.values())
        rows_UD, missing = self._read(keys)
        # Sorted by length for batches without padding, by text for a fixed order.
        missing.sort(key=lambda place: (len(different[place]), different[place]))
        self.hits += len(keys) - len(missing)
        self.misses += len(missing)
        if missing:
            self._store.check_room(len(missing))
            self._say_what_comes([different[place] for place in missing], len(keys))
            self._embed_missing(missing, keys, different, rows_UD)
        if len(keys) == len(texts):
            return rows_UD
        place_of = {key: place for place, key in enumerate(keys)}
        return rows_UD[[place_of[text_digest(text)] for text in texts]]

    def _say_what_comes(self, texts: Sequence[str], asked: int) -> None:
        """How long the teacher will take, where that can be told and is worth it."""
        seconds = self.teacher.expected_seconds(texts)
        if seconds is not None and seconds > SAID_ABOVE:
            logger.info(
                "teacher: %s of %s texts to embed, about %s",
                f"{len(texts):,}",
                f"{asked:,}",
                duration(seconds),
            )

    def _read(self, keys: list[bytes]) -> tuple[Embeddings, list[int]]:
        """The stored rows, in their places, and the places whose rows must be computed."""
        found_UD = np.empty((len(keys), self.teacher.dimension), dtype=np.float32)
        missing: list[int] = []
        damaged = 0
        for start in range(0, len(keys), READ_TOGETHER):
            block = keys[start : start + READ_TOGETHER]
            row_of, wrong = self._store.read(block)
            damaged += len(wrong)
            for place, key in enumerate(block, start=start):
                if key in row_of:
                    found_UD[place] = row_of[key]
                else:
                    missing.append(place)
        if damaged:
            logger.warning(
                "%s of %s embeddings in '%s' are damaged and are computed again",
                damaged,
                len(keys),
                self.folder,
            )
        return found_UD, missing

    def _embed_missing(
        self, missing: list[int], keys: list[bytes], texts: Sequence[str], rows_UD: Embeddings
    ) -> None:
        """Compute rows and put them into their places, in memory and on disk."""
        with show_progress(f"embedding with {self.teacher.name}", len(missing)) as progress:
            for start in range(0, len(missing), self._block):
                block = missing[start : start + self._block]
                # Another process may have embedded them while this one was at earlier blocks.
                found, _ = self._store.read([keys[place] for place in block])
                progress(len(found))
                for place in block:
                    if keys[place] in found:
                        rows_UD[place] = found[keys[place]]
                wanted = [place for place in block if keys[place] not in found]
                if wanted:
                    new_BD = self.teacher.encode([texts[place] for place in wanted], progress)
                    self._check_rows(new_BD, len(wanted))
                    self._store.append([keys[place] for place in wanted], new_BD)
                    rows_UD[wanted] = new_BD

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
