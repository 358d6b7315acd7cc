"""Keep the embedding cache below its size: the caches of teachers long unused go first."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from latticegraph.errors import CacheError
from latticegraph.teachers.store import KEYS_FILE, META_FILE, ROWS_FILE

logger = logging.getLogger(__name__)

BYTES_PER_GB = 10**9
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class _Other:
    folder: Path
    used_at: float
    size_bytes: int


def lock_path(folder: Path) -> Path:
    """The lock file of a store; beside the folder, so that it outlives it."""
    return folder.with_name(folder.name + ".lock")


def make_room(folder: Path, needed_bytes: int, limit_gb: float) -> None:
    """Drop other teachers' stores, least recently used first, until everything fits.

    A store that another process is using at this moment is passed over.

    Args:
        folder: the store that is about to grow; never dropped.
        needed_bytes: what that store will hold afterwards.
        limit_gb: ``teacher.max_cache_size_gb``, in 10**9 bytes.

    Raises:
        CacheError: the store alone would be larger than the limit.
    """
    limit = limit_gb * BYTES_PER_GB
    if needed_bytes > limit:
        raise CacheError(
            "teacher.max_cache_size_gb",
            f"expected at least {needed_bytes / BYTES_PER_GB:.4g} GB for the embeddings of this "
            f"teacher alone, got {limit_gb:g}",
            f"Raise teacher.max_cache_size_gb, use less text, or delete '{folder}'",
        )
    others = sorted(_others(folder), key=lambda other: other.used_at)
    total = needed_bytes + sum(other.size_bytes for other in others)
    for other in others:
        if total <= limit:
            return
        if _drop(other.folder):
            total -= other.size_bytes
            logger.info(
                "dropped the embedding cache '%s' to stay below %g GB", other.folder, limit_gb
            )


def _others(folder: Path) -> list[_Other]:
    found = []
    for other in folder.parent.iterdir() if folder.parent.is_dir() else ():
        # Only what a store certainly made is ever deleted: the folder may be shared.
        meta = other / META_FILE
        if other == folder or not _FINGERPRINT.fullmatch(other.name) or not meta.is_file():
            continue
        files = [path for path in (other / ROWS_FILE, other / KEYS_FILE) if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        found.append(_Other(other, meta.stat().st_mtime, size))
    return found


def _drop(folder: Path) -> bool:
    try:
        with FileLock(lock_path(folder), timeout=0):
            # meta.json goes first: without it the rest counts as nothing.
            for name in (META_FILE, KEYS_FILE, ROWS_FILE):
                (folder / name).unlink(missing_ok=True)
    except (Timeout, PermissionError):
        return False
    return True
