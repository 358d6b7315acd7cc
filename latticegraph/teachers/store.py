"""The rows of one teacher in LMDB. Shape suffixes: B texts, D width.

Every teacher has a database of its own. It holds blocks of rows, raw float32, and for each text the
place of its row: the key is the SHA-256 of the text, the value block, row in it and checksum. Rows
share blocks because LMDB fills its pages badly with large values: single rows of 384 numbers took
twice their size.
"""

from __future__ import annotations

import hashlib
import json
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from latticegraph.errors import CacheError
from latticegraph.teachers.environment import (
    BYTES_PER_GB,
    FOLDER,
    TEACHERS,
    Environment,
    disk_errors,
    folder_lock,
    open_environment,
    used_bytes,
)
from latticegraph.teachers.eviction import check_limit, make_room
from latticegraph.teachers.protocol import Embeddings, Teacher

FORMAT_VERSION = 2
ROWS_TOGETHER = 64
CHECKSUM_BYTES = 8
_BLOCK = struct.Struct(">Q")
_PLACE = struct.Struct(f">QH{CHECKSUM_BYTES}s")
# A key and its place on a page of the tree that is two thirds full, and the ends of blocks.
_OVERHEAD_BYTES = 160


def text_digest(text: str) -> bytes:
    """The key of a text: SHA-256 of its exact UTF-8 bytes (lone surrogates included)."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).digest()


def store_name(teacher: Teacher) -> str:
    """The database of a teacher: 64 hexadecimal digits over its fingerprint and arithmetic.

    Embeddings that another device or another shape of batches computed have a database of their
    own, because their last bits may differ.
    """
    if not teacher.arithmetic:
        return teacher.fingerprint
    text = f"{teacher.fingerprint}\n{teacher.arithmetic}"
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


class RowStore:
    """The stored embeddings of one teacher.

    Args:
        cache_dir: ``teacher.cache_dir``; made at the first use.
        teacher: gives name, width, fingerprint and arithmetic.
        limit_gb: ``teacher.max_cache_size_gb``, in 10**9 bytes, for all teachers together.
    """

    def __init__(self, cache_dir: Path, teacher: Teacher, limit_gb: float) -> None:
        self.folder = cache_dir / FOLDER
        self._cache_dir = cache_dir
        self._teacher = teacher
        self._limit_gb = limit_gb
        self._row_bytes = 4 * teacher.dimension
        self._name = store_name(teacher).encode("ascii")
        self._environment: Environment | None = None

    def read(self, keys: Sequence[bytes]) -> tuple[dict[bytes, Embeddings], list[bytes]]:
        """The stored rows of ``keys``, each compared with its checksum.

        Shapes:
            returns float32 [D] by key, copies, and the keys whose rows are damaged.

        Raises:
            CacheError: the files are damaged or foreign, or cannot be opened.
        """
        rows: dict[bytes, Embeddings] = {}
        damaged: list[bytes] = []
        with disk_errors(self._cache_dir):
            environment = self._opened()
            with environment.read() as transaction:
                database = environment.database(self._name, transaction)
                for key in keys:
                    place = transaction.get(key, db=database)
                    if place is None:
                        continue
                    row = self._row(transaction, database, key, bytes(place))
                    if row is None:
                        damaged.append(key)
                    else:
                        rows[key] = np.frombuffer(row, dtype="<f4").astype(np.float32)
        return rows, damaged

    def append(self, keys: Sequence[bytes], rows_BD: Embeddings) -> None:
        """Store rows, all of them or none; rows of the same keys are replaced.

        Raises:
            CacheError: the disk is full or refuses; what was stored before stays readable.
        """
        data_BD = np.ascontiguousarray(rows_BD, dtype="<f4")
        with disk_errors(self._cache_dir), folder_lock(self._cache_dir):
            environment = self._opened_under_lock()
            with environment.write() as transaction:
                needed = self._bytes_for(len(keys))
                make_room(environment, transaction, self._name, needed, self._limit_gb)
                database = environment.database(self._name, transaction)
                number = self._register(environment, transaction)["blocks"]
                for start in range(0, len(keys), ROWS_TOGETHER):
                    rows = [row.tobytes() for row in data_BD[start : start + ROWS_TOGETHER]]
                    transaction.put(_BLOCK.pack(number), b"".join(rows), db=database)
                    for slot, row in enumerate(rows):
                        key = keys[start + slot]
                        place = _PLACE.pack(number, slot, _checksum(key, row))
                        transaction.put(key, place, db=database)
                    number += 1
                self._register(environment, transaction, blocks=number)

    def check_room(self, count: int) -> None:
        """Refuse ``count`` further rows that would not fit even without all other teachers.

        Raises:
            CacheError: naming the size that is needed.
        """
        with disk_errors(self._cache_dir):
            environment = self._opened()
            with environment.read() as transaction:
                held = used_bytes(environment, transaction, self._name)
        check_limit(self.folder, held + self._bytes_for(count), self._limit_gb)

    def _bytes_for(self, count: int) -> int:
        return count * (self._row_bytes + _OVERHEAD_BYTES)

    def _row(
        self, transaction: lmdb.Transaction, database: Any, key: bytes, place: bytes
    ) -> bytes | None:
        """The bytes of a row; None where they are not those that were stored."""
        if len(place) != _PLACE.size:
            return None
        number, slot, checksum = _PLACE.unpack(place)
        block = transaction.get(_BLOCK.pack(number), db=database)
        row = bytes(block[slot * self._row_bytes :][: self._row_bytes]) if block else b""
        return row if _checksum(key, row) == checksum else None

    def _opened(self) -> Environment:
        """The environment, with this teacher registered in it."""
        if self._environment is not None and self._environment.is_current():
            return self._environment
        with folder_lock(self._cache_dir):
            return self._opened_under_lock()

    def _opened_under_lock(self) -> Environment:
        if self._environment is None or not self._environment.is_current():
            self._environment = open_environment(self._cache_dir, self._limit_gb * BYTES_PER_GB)
            with self._environment.write() as transaction:
                self._environment.database(self._name, transaction, make=True)
                self._register(self._environment, transaction)
        return self._environment

    def _register(
        self, environment: Environment, transaction: lmdb.Transaction, blocks: int | None = None
    ) -> dict[str, Any]:
        """Note whose rows these are, how many blocks there are, and that they were just used."""
        teachers = environment.database(TEACHERS, transaction, make=True)
        stored = transaction.get(self._name, db=teachers)
        # The name is for people: one model may be reached by several paths.
        record: dict[str, Any] = {
            "format": FORMAT_VERSION,
            "dimension": self._teacher.dimension,
            "fingerprint": self._teacher.fingerprint,
            "arithmetic": self._teacher.arithmetic,
            "teacher": self._teacher.name,
        }
        known = {"blocks": 0} if stored is None else self._checked(bytes(stored), record)
        record["blocks"] = known["blocks"] if blocks is None else blocks
        record["used_at"] = time.time()
        transaction.put(self._name, json.dumps(record).encode("utf-8"), db=teachers)
        return record

    def _checked(self, stored: bytes, own: dict[str, Any]) -> dict[str, Any]:
        try:
            known = json.loads(stored)
            int(known["blocks"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._foreign("a record in JSON", str(error)) from error
        for key in ("format", "dimension", "fingerprint", "arithmetic"):
            if known.get(key) != own[key]:
                raise self._foreign(f"{key} {own[key]!r}", repr(known.get(key)))
        return dict(known)

    def _foreign(self, expected: str, got: str) -> CacheError:
        return CacheError(
            str(self.folder),
            f"expected {expected} for the teacher '{self._teacher.name}', got {got}",
            f"Delete the folder '{self.folder}'; its embeddings will be computed anew",
        )


def _checksum(key: bytes, row: bytes) -> bytes:
    """Of the text's digest too: a place that points to another row is found."""
    return hashlib.blake2b(key + row, digest_size=CHECKSUM_BYTES).digest()
