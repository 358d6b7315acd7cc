"""What was found when a model folder was last read, so that it need not be read again."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from latticegraph.errors import CacheError
from latticegraph.files import replace_file
from latticegraph.teachers.model_folder import deciding_files

_log = logging.getLogger(__name__)

FORMAT_VERSION = 1


@dataclass(frozen=True)
class FolderFacts:
    """What must be known of an encoder before it embeds anything.

    Attributes:
        dimension: width of its embeddings.
        fingerprint: of its files and of the choices, 64 hexadecimal digits.
    """

    dimension: int
    fingerprint: str


def folder_stamp(folder: Path, **choices: object) -> str:
    """SHA-256 over all that tells whether a folder has changed, without reading its files.

    Place, names, sizes and times of the deciding files count, the time of the last change of
    the directory entry too, which a tool that sets times back leaves alone.

    Args:
        folder: model folder.
        choices: JSON values that decide the embeddings too.
    """
    head = [FORMAT_VERSION, version("transformers"), str(folder.resolve()), choices]
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode("utf-8"))
    for path in deciding_files(folder):
        status = path.stat()
        times = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
        digest.update(f"\0{path.name}\0{times}".encode("utf-8", errors="surrogateescape"))
    return digest.hexdigest()


def noted_facts(notes: Path, stamp: str, find: Callable[[], FolderFacts]) -> FolderFacts:
    """The facts noted under ``stamp``; see :func:`noted`."""
    return FolderFacts(**noted(notes, stamp, lambda: asdict(find())))


def noted(notes: Path, stamp: str, find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is noted under ``stamp``; found and noted where it is missing or damaged.

    Args:
        notes: folder of the notes, made where missing.
        stamp: SHA-256 of all that what is found depends on.
        find: does the work, for values that JSON can hold.

    Raises:
        CacheError: the notes cannot be read or written.
    """
    path = notes / f"{stamp[:32]}.json"
    try:
        if path.is_file():
            known = _parsed(path.read_bytes(), stamp)
            if known is not None:
                return known
            _log.warning("teacher: the note '%s' is damaged; the model is read again", path)
        found = find()
        body = json.dumps(found)
        data = f"{_digest(stamp, body)}\n{body}\n".encode("ascii")
        replace_file(path, lambda temporary: temporary.write_bytes(data))
    except OSError as error:
        raise CacheError(
            "teacher.cache_dir",
            f"expected to read and write '{path}', got: {error.strerror or error}",
            "Free space on that disk, or set teacher.cache_dir to another folder",
        ) from error
    return found


def _parsed(data: bytes, stamp: str) -> dict[str, Any] | None:
    """What a note holds; None where it is damaged or belongs to another stamp."""
    head, _, body = data.decode("ascii", errors="replace").partition("\n")
    if head != _digest(stamp, body.removesuffix("\n")):
        return None
    known: dict[str, Any] = json.loads(body)
    return known


def _digest(stamp: str, body: str) -> str:
    return hashlib.sha256(f"{stamp} {body}".encode("utf-8", errors="replace")).hexdigest()
