"""The LMDB files behind the embedding cache: opened once per process, checked before they are."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
from filelock import FileLock
from lmdb.verify import VerifyError, verify

from latticegraph.errors import CacheError

logger = logging.getLogger(__name__)

FOLDER = "embeddings.lmdb"
DATA_FILE, CHECKED_FILE = "data.mdb", "checked.json"
TEACHERS = b"teachers"
BYTES_PER_GB = 10**9
SMALLEST_MAP = 2**30
MOST_TEACHERS = 512
MOST_READERS = 1024
SLOW_CHECK_BYTES = 200 * 10**6

_opened: weakref.WeakValueDictionary[tuple[Path, int], Environment] = weakref.WeakValueDictionary()
_opening = threading.Lock()


class Environment:
    """The open LMDB files of one folder; shared by all caches of this process below it.

    LMDB keeps what was committed through a kill, and readers never wait. What it does not keep is a
    file that something else damaged: a truncated one ends the process that reads it. So size and
    time of the file are noted after every commit, and a file that differs from the note is
    walked through by py-lmdb's own verifier before LMDB maps it. One that fails is deleted.

    Args:
        folder: of the files.
        map_bytes: address space kept for them.
    """

    def __init__(self, folder: Path, map_bytes: int) -> None:
        self.folder = folder
        self.env = lmdb.open(
            str(folder), map_size=map_bytes, max_dbs=MOST_TEACHERS, max_readers=MOST_READERS
        )
        self.inode = (folder / DATA_FILE).stat().st_ino
        self.page_bytes = int(self.env.stat()["psize"])
        # Readers that were killed would keep old pages from being used again.
        self.env.reader_check()

    def is_current(self) -> bool:
        """Whether the folder still holds the file that is open; another process may replace it."""
        try:
            return (self.folder / DATA_FILE).stat().st_ino == self.inode
        except FileNotFoundError:
            return False

    def database(self, name: bytes, transaction: lmdb.Transaction, make: bool = False) -> Any:
        """The database called ``name``; ``make`` it where it is missing, which needs a write."""
        return self.env.open_db(name, txn=transaction, create=make)

    @contextmanager
    def read(self) -> Iterator[lmdb.Transaction]:
        """A view of all that is committed; its buffers are valid inside the block only."""
        with self._begin(write=False) as transaction:
            yield transaction

    @contextmanager
    def write(self) -> Iterator[lmdb.Transaction]:
        """All changes of the block or none; the caller holds :func:`folder_lock`."""
        with self._begin(write=True) as transaction:
            yield transaction
        _note(self.folder)

    def _begin(self, write: bool) -> lmdb.Transaction:
        try:
            return self.env.begin(write=write, buffers=True)
        except lmdb.MapResizedError:
            # A process with a larger limit made the file outgrow the map of this one.
            self.env.set_mapsize(0)
            return self.env.begin(write=write, buffers=True)


@contextmanager
def folder_lock(cache_dir: Path) -> Iterator[None]:
    """One process writes or checks at a time; a killed one no longer holds the lock.

    Raises:
        CacheError: the folder cannot be made or written, or LMDB refuses.
    """
    with disk_errors(cache_dir):
        cache_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(lock_path(cache_dir))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def lock_path(cache_dir: Path) -> Path:
    """The lock file of a cache folder; beside the LMDB files, so that it outlives them."""
    return cache_dir / "embeddings.lock"


def open_environment(cache_dir: Path, limit_bytes: float) -> Environment:
    """The environment of ``cache_dir``, checked where something else may have changed it.

    The caller holds :func:`folder_lock`.

    Args:
        cache_dir: ``teacher.cache_dir``.
        limit_bytes: ``teacher.max_cache_size_gb``, in bytes.
    """
    folder = cache_dir / FOLDER
    with _opening:
        if (folder / DATA_FILE).is_file() and not _is_sound(folder):
            # Renamed first: a process that still has it open must not meet the new lock file.
            doomed = folder.with_name(f"{FOLDER}.damaged-{os.getpid()}-{time.time_ns()}")
            folder.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)
            logger.warning(
                "the embedding cache '%s' was damaged and is deleted; its texts are embedded again",
                folder,
            )
        data = folder / DATA_FILE
        key = (folder.resolve(), data.stat().st_ino if data.is_file() else 0)
        found = _opened.get(key)
        if found is None:
            folder.mkdir(parents=True, exist_ok=True)
            found = Environment(folder, max(SMALLEST_MAP, 2 * int(limit_bytes)))
            _note(folder)
            _opened[folder.resolve(), found.inode] = found
        return found


def used_bytes(environment: Environment, transaction: lmdb.Transaction, name: bytes) -> int:
    """Disk space of the pages of one database, in bytes."""
    stat = transaction.stat(environment.database(name, transaction))
    pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    return int(pages * environment.page_bytes)


@contextmanager
def disk_errors(cache_dir: Path) -> Iterator[None]:
    """Turn what LMDB and the disk refuse into a :class:`CacheError`."""
    try:
        yield
    except (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError) as error:
        raise CacheError(
            str(cache_dir / FOLDER),
            f"expected intact LMDB files, got: {error}",
            f"Delete the folder '{cache_dir / FOLDER}'; its embeddings will be computed anew",
        ) from error
    except (lmdb.Error, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise CacheError(
            "teacher.cache_dir",
            f"expected to write the embedding cache in '{cache_dir}', got: {reason or error}",
            "Free space on that disk or set teacher.cache_dir to another folder; embeddings stored "
            "so far are kept",
        ) from error


def _is_sound(folder: Path) -> bool:
    """Whether the file is as the last commit left it, or passes the verifier."""
    try:
        noted = json.loads((folder / CHECKED_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        noted = None
    now = _state(folder)
    if noted == now:
        return True
    if now["size"] > SLOW_CHECK_BYTES:
        logger.info("checking the embedding cache '%s', which something has changed", folder)
    try:
        sound = not verify(str(folder))
    except VerifyError:
        return False
    if sound:
        _note(folder)
    return sound


def _state(folder: Path) -> dict[str, Any]:
    status = (folder / DATA_FILE).stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}


def _note(folder: Path) -> None:
    # Not atomic: a torn note differs from the file, which is then checked.
    text = json.dumps(_state(folder))
    (folder / CHECKED_FILE).write_text(text, encoding="utf-8")
