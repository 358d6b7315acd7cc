"""The LMDB files of the cache, beside what the caches themselves test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from latticegraph.teachers.environment import Environment

GROW = """
import sys
import lmdb

with lmdb.open(sys.argv[1], map_size=2**26, max_dbs=4) as env, env.begin(write=True) as transaction:
    for number in range(4):
        transaction.put(b"other %d" % number, bytes(2**20))
"""


def test_a_file_that_outgrew_the_map_is_read_and_written(tmp_path: Path) -> None:
    """As when a process with a larger ``teacher.max_cache_size_gb`` fills the same cache."""
    environment = Environment(tmp_path, 2**20)
    with environment.write() as transaction:
        transaction.put(b"own", b"kept")
    subprocess.run([sys.executable, "-c", GROW, str(tmp_path)], check=True, timeout=60)
    with environment.read() as transaction:
        assert bytes(transaction.get(b"own")) == b"kept"
        assert len(transaction.get(b"other 3")) == 2**20
    with environment.write() as transaction:
        transaction.put(b"new", bytes(2**20))
    with environment.read() as transaction:
        assert len(transaction.get(b"new")) == 2**20
