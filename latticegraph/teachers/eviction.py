"""Keep the embedding cache below its size: the rows of teachers long unused go first."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import lmdb

from latticegraph.errors import CacheError
from latticegraph.teachers.environment import BYTES_PER_GB, TEACHERS, Environment, used_bytes

logger = logging.getLogger(__name__)


def check_limit(folder: Path, needed_bytes: int, limit_gb: float) -> None:
    """Refuse what one teacher alone could not store.

    Args:
        folder: of the cache, for the message.
        needed_bytes: what the teacher's rows will take.
        limit_gb: ``teacher.max_cache_size_gb``, in 10**9 bytes.

    Raises:
        CacheError: naming the size that is needed.
    """
    if needed_bytes > limit_gb * BYTES_PER_GB:
        raise CacheError(
            "teacher.max_cache_size_gb",
            f"expected at least {needed_bytes / BYTES_PER_GB:.4g} GB for the embeddings of this "
            f"teacher alone, got {limit_gb:g}",
            f"Raise teacher.max_cache_size_gb, use less text, or delete '{folder}'",
        )


def make_room(
    environment: Environment,
    transaction: lmdb.Transaction,
    own: bytes,
    needed_bytes: int,
    limit_gb: float,
) -> None:
    """Drop other teachers' rows, least recently used first, until everything fits.

    Their pages are used again; the file itself does not shrink. All of it belongs to the
    transaction: a process that reads them at this moment still sees them.

    Args:
        environment: of the cache.
        transaction: a write.
        own: database of the teacher that is about to grow; never dropped.
        needed_bytes: by how much.
        limit_gb: ``teacher.max_cache_size_gb``, in 10**9 bytes.
    """
    teachers = environment.database(TEACHERS, transaction)
    with transaction.cursor(db=teachers) as cursor:
        records = {bytes(name): json.loads(bytes(record)) for name, record in cursor}
    sizes = {name: used_bytes(environment, transaction, name) for name in {own, *records}}
    total = needed_bytes + sum(sizes.values())
    others = sorted((name for name in records if name != own), key=lambda n: records[n]["used_at"])
    for name in others:
        if total <= limit_gb * BYTES_PER_GB:
            return
        # Emptied, not deleted: another process may hold its handle.
        transaction.drop(environment.database(name, transaction), delete=False)
        transaction.delete(name, db=teachers)
        total -= sizes[name]
        logger.info(
            "dropped the embeddings of '%s' from the cache '%s' to stay below %g GB",
            records[name]["teacher"],
            environment.folder,
            limit_gb,
        )
