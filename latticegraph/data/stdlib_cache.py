"""Sentences of the standard library on disk, so that its files are parsed once."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from latticegraph.errors import DataError
from latticegraph.files import replace_file

_log = logging.getLogger(__name__)

Rows = list[tuple[str, str]]
"""Sentence and top-level module."""


def source_key(folder: Path, files: Sequence[Path], version: int) -> str:
    """SHA-256 over everything that decides the sentences.

    Args:
        folder: common folder of the files.
        files: the sources; relative name, size and time of change of each count.
        version: of the extraction code.
    """
    digest = hashlib.sha256(f"{version} {sys.implementation.cache_tag} {sys.version}".encode())
    digest.update(str(folder).encode("utf-8", errors="surrogateescape"))
    for path in files:
        status = path.stat()
        name = path.relative_to(folder).as_posix()
        line = f"\0{name}\0{status.st_size} {status.st_mtime_ns}"
        digest.update(line.encode("utf-8", errors="surrogateescape"))
    return digest.hexdigest()


def cache_file(cache_dir: Path, key: str) -> Path:
    """The file in ``cache_dir`` that holds the sentences of this key."""
    return cache_dir / f"stdlib-{key[:32]}.json"


def load_sentences(cache_dir: Path, key: str) -> Rows | None:
    """The stored sentences; None if they were never stored, or if the file is damaged.

    A damaged file is reported in the log and replaced by the next :func:`store_sentences`.
    """
    path = cache_file(cache_dir, key)
    try:
        first, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    if first.decode("ascii", errors="replace") != _head(key, body):
        _log.warning("text: the cached sentences in '%s' are damaged and are parsed again", path)
        return None
    return [(text, group) for text, group in json.loads(body)]


def store_sentences(cache_dir: Path, key: str, rows: Rows) -> None:
    """Write the sentences atomically.

    Raises:
        DataError: the folder cannot be written.
    """
    body = json.dumps(rows, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    data = _head(key, body).encode("ascii") + b"\n" + body
    path = cache_file(cache_dir, key)
    try:
        replace_file(path, lambda temporary: temporary.write_bytes(data))
    except OSError as error:
        raise _unusable(path, error) from error


def _head(key: str, body: bytes) -> str:
    """First line of the file: the key, and a digest of what follows."""
    return f"{key} {hashlib.sha256(body).hexdigest()}"


def _unusable(path: Path, error: OSError) -> DataError:
    return DataError(
        "teacher.cache_dir",
        f"expected to read and write '{path}', got: {error.strerror or error}",
        "Free space on that disk, or set teacher.cache_dir to another folder",
    )
