"""Embeddings on disk, so that every text is embedded once. Shape suffixes: B texts, D width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock

from latticegraph.config import TeacherSettings
from latticegraph.teachers.eviction import lock_path, make_room
from latticegraph.teachers.progress import show_progress
from latticegraph.teachers.protocol import Embeddings, Teacher
from latticegraph.teachers.store import RowStore, disk_error, text_digest

BLOCK_TEXTS = 1024


class EmbeddingCache:
    """A teacher that remembers what it embedded, on disk and across processes.

    Below ``teacher.cache_dir`` every teacher has a folder named by its fingerprint, so a changed
    teacher never reads old embeddings. New texts are stored in blocks as they are finished: a first
    pass that is killed goes on where it stopped. Processes may share the folder; each waits for the
    other only while rows are copied.

    ``hits`` and ``misses`` count the different texts of each call of :meth:`embed`: stored before
    the call, or not. ``teacher.max_cache_size_gb`` bounds all teachers together: the least recently
    used others are dropped first.

    Args:
        settings: ``cache_dir``, ``max_cache_size_gb`` and ``batch_size`` apply.
        teacher: embeds the texts that are not stored.
    """

    def __init__(self, settings: TeacherSettings, teacher: Teacher) -> None:
        self.teacher = teacher
        self.hits = 0
        self.misses = 0
        self._limit_gb = settings.max_cache_size_gb
        # Whole batches per block, so that a resumed pass meets the very same batches.
        self._block = max(1, BLOCK_TEXTS // settings.batch_size) * settings.batch_size
        folder = Path(settings.cache_dir).expanduser() / teacher.fingerprint
        self._store = RowStore(folder, teacher)

    @property
    def folder(self) -> Path:
        """Where this teacher's embeddings lie."""
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
            CacheError: the cache is damaged, foreign, too small, or cannot be written.
        """
        text_of = {text_digest(text): text for text in texts}
        with self._locked():
            stored = [key for key in text_of if key in self._store]
            # Sorted by length for full batches without padding, by text for a fixed order.
            missing = sorted(
                (key for key in text_of if key not in self._store),
                key=lambda key: (len(text_of[key]), text_of[key]),
            )
            if missing:
                needed = self._store.size_bytes + len(missing) * self._store.bytes_per_row
                make_room(self.folder, needed, self._limit_gb)
            # Copied now: another process may drop this store while new texts are embedded.
            blocks = [self._store.read(stored)]
        self.hits += len(stored)
        self.misses += len(missing)
        blocks += self._embed_missing(missing, text_of)
        unique_BD = np.concatenate(blocks)
        place = {key: row for row, key in enumerate(stored + missing)}
        embeddings_BD: Embeddings = unique_BD[[place[text_digest(text)] for text in texts]]
        return embeddings_BD

    def _embed_missing(self, keys: list[bytes], text_of: dict[bytes, str]) -> list[Embeddings]:
        blocks = []
        with show_progress(f"embedding with {self.teacher.name}", len(keys)) as progress:
            for start in range(0, len(keys), self._block):
                block = keys[start : start + self._block]
                rows_BD = self.teacher.encode([text_of[key] for key in block], progress)
                with self._locked():
                    self._store.append(block, rows_BD)
                blocks.append(rows_BD)
        return blocks

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(lock_path(self.folder))
            lock.acquire()
        except OSError as error:
            raise disk_error(self.folder, error) from error
        try:
            self._store.sync()
            yield
        finally:
            lock.release()
