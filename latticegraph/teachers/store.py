"""Append-only rows on disk, safe against kills. Shape suffixes: B texts, D width.

A store is a folder with ``meta.json`` (what it belongs to), ``rows.f32`` (raw float32 rows) and
``keys.bin`` (SHA-256 of the UTF-8 text of each row). A row counts once its key is complete, and
rows are on disk before their keys are written, so whatever a kill leaves half-written is not seen
and is overwritten later.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latticegraph.errors import CacheError
from latticegraph.files import replace_file
from latticegraph.teachers.protocol import Embeddings, Teacher

FORMAT_VERSION = 1
KEY_BYTES = 32
META_FILE, ROWS_FILE, KEYS_FILE = "meta.json", "rows.f32", "keys.bin"


def text_digest(text: str) -> bytes:
    """The key of a text: SHA-256 of its exact UTF-8 bytes (lone surrogates included)."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).digest()


class RowStore:
    """The rows of one teacher. Every method expects the caller to hold the store's lock.

    Args:
        folder: the store's own folder; made at the first :meth:`sync`.
        teacher: gives name, width and fingerprint for ``meta.json``.
    """

    def __init__(self, folder: Path, teacher: Teacher) -> None:
        self.folder = folder
        self._teacher = teacher
        self._row_bytes = 4 * teacher.dimension
        self._generation = ""
        self._row_of: dict[bytes, int] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._row_of

    @property
    def bytes_per_row(self) -> int:
        """Disk space of one text, in bytes."""
        return self._row_bytes + KEY_BYTES

    @property
    def size_bytes(self) -> int:
        """Disk space of all rows and keys, in bytes."""
        return len(self._row_of) * self.bytes_per_row

    def sync(self) -> None:
        """See what other processes stored, or start the store; marks it as used just now.

        Raises:
            CacheError: ``meta.json`` is damaged or belongs to something else, or the disk refuses.
        """
        meta_path = self.folder / META_FILE
        try:
            if not meta_path.is_file():
                self._start(meta_path)
            generation = self._checked_generation(meta_path)
            os.utime(meta_path)
        except OSError as error:
            raise disk_error(self.folder, error) from error
        if generation != self._generation:
            self._generation, self._row_of = generation, {}
        count = min(self._size(ROWS_FILE) // self._row_bytes, self._size(KEYS_FILE) // KEY_BYTES)
        if count < len(self._row_of):
            raise self._damaged(KEYS_FILE, f"{len(self._row_of)} keys", f"only {count}")
        if count > len(self._row_of):
            self._read_keys(count)

    def read(self, keys: Sequence[bytes]) -> Embeddings:
        """The rows of ``keys``, all of which are stored.

        Shapes:
            returns float32 [B, D].

        Raises:
            CacheError: a row is not finite, so the file is damaged.
        """
        if not keys:
            return np.empty((0, self._teacher.dimension), dtype=np.float32)
        rows = [self._row_of[key] for key in keys]
        shape = (len(self._row_of), self._teacher.dimension)
        stored = np.memmap(self.folder / ROWS_FILE, dtype="<f4", mode="r", shape=shape)
        embeddings_BD: Embeddings = np.array(stored[rows], dtype=np.float32)
        if not np.isfinite(embeddings_BD).all():
            raise self._damaged(ROWS_FILE, "finite numbers", "NaN or infinity")
        return embeddings_BD

    def append(self, keys: Sequence[bytes], rows_BD: Embeddings) -> None:
        """Store new rows after a :meth:`sync`; keys already there are passed over.

        Raises:
            CacheError: the disk is full or refuses; what was stored before stays readable.
        """
        new = [index for index, key in enumerate(keys) if key not in self._row_of]
        count = len(self._row_of)
        data = np.ascontiguousarray(rows_BD[new], dtype="<f4").tobytes()
        try:
            # First, or keys that lost their rows would claim the rows written next.
            os.truncate(self.folder / KEYS_FILE, count * KEY_BYTES)
            _write_at(self.folder / ROWS_FILE, count * self._row_bytes, data)
            key_bytes = b"".join(keys[index] for index in new)
            _write_at(self.folder / KEYS_FILE, count * KEY_BYTES, key_bytes)
        except OSError as error:
            raise disk_error(self.folder, error) from error
        self._row_of.update((keys[index], count + place) for place, index in enumerate(new))

    def _start(self, meta_path: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in (ROWS_FILE, KEYS_FILE):
            (self.folder / name).write_bytes(b"")
        # By the generation a process that holds row numbers sees that the store was dropped.
        meta = self._owner() | {"generation": uuid.uuid4().hex}
        text = json.dumps(meta, indent=1).encode("utf-8")
        replace_file(meta_path, lambda temporary: temporary.write_bytes(text))

    def _owner(self) -> dict[str, Any]:
        return {
            "format": FORMAT_VERSION,
            "dimension": self._teacher.dimension,
            "fingerprint": self._teacher.fingerprint,
            "teacher": self._teacher.name,
        }

    def _checked_generation(self, meta_path: Path) -> str:
        try:
            meta = json.loads(meta_path.read_text(encoding="utf-8"))
            generation = str(meta.pop("generation"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged(META_FILE, "JSON with a generation", str(error)) from error
        # The name is for people: one model may be reached by several paths.
        expected = self._owner() | {"teacher": meta.get("teacher")}
        for key, value in expected.items():
            if meta.get(key) != value:
                raise self._damaged(META_FILE, f"{key} {value!r}", repr(meta.get(key)))
        return generation

    def _read_keys(self, count: int) -> None:
        known = len(self._row_of)
        with (self.folder / KEYS_FILE).open("rb") as file:
            file.seek(known * KEY_BYTES)
            data = file.read((count - known) * KEY_BYTES)
        for row in range(known, count):
            start = (row - known) * KEY_BYTES
            self._row_of[data[start : start + KEY_BYTES]] = row
        if len(self._row_of) != count:
            raise self._damaged(KEYS_FILE, f"{count} different keys", f"{len(self._row_of)}")

    def _size(self, name: str) -> int:
        path = self.folder / name
        if not path.is_file():
            raise self._damaged(name, "a file", "nothing")
        return path.stat().st_size

    def _damaged(self, name: str, expected: str, got: str) -> CacheError:
        return CacheError(
            str(self.folder / name),
            f"expected {expected} for the teacher '{self._teacher.name}', got {got}",
            f"Delete the folder '{self.folder}'; its embeddings will be computed anew",
        )


def disk_error(folder: Path, error: OSError) -> CacheError:
    """The error for a cache folder that cannot be written: full disk, no right, no folder."""
    return CacheError(
        "teacher.cache_dir",
        f"expected to write the embedding cache in '{folder}', got: {error.strerror or error}",
        "Free space on that disk or set teacher.cache_dir to another folder; embeddings stored so "
        "far are kept",
    )


def _write_at(path: Path, position: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.truncate(position)
        file.seek(position)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
