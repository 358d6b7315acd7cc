"""The LMDB files of the cache, beside what the caches themselves test."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from queue import Queue
from threading import Thread

from latticegraph.teachers.environment import Environment

GROW = """
import sys
import lmdb

with lmdb.open(sys.argv[1], map_size=2**26, max_dbs=4) as env, env.begin(write=True) as transaction:
    for number in range(4):
        transaction.put(b"other %d" % number, bytes(2**20))
"""

READ = """
import os
import signal
import sys
import lmdb

env = lmdb.open(sys.argv[1], max_dbs=4)
if sys.argv[2] == "wait":
    print("open", flush=True)
    sys.stdin.read()
else:
    with env.begin():
        os.kill(os.getpid(), signal.SIGKILL)
"""


def start(code: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_readers_that_were_killed_are_forgotten(tmp_path: Path) -> None:
    """While another process has the files open, LMDB itself would keep them in its table."""
    Environment(tmp_path, 2**20).env.close()
    with start(READ, str(tmp_path), "wait") as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with start(READ, str(tmp_path), "die") as killed:
            assert killed.wait(60) == -signal.SIGKILL
        environment = Environment(tmp_path, 2**20)
        assert str(killed.pid) not in environment.env.readers()
        other.communicate("")


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


def test_reading_does_not_wait_for_a_writer_and_sees_what_is_committed(tmp_path: Path) -> None:
    environment, found = Environment(tmp_path, 2**20), Queue[bytes | None]()

    def look() -> None:
        with environment.read() as transaction:
            value = transaction.get(b"key")
            found.put(None if value is None else bytes(value))

    with environment.write() as transaction:
        transaction.put(b"key", b"value")
        reader = Thread(target=look)
        reader.start()
        assert found.get(timeout=20) is None
    reader.join()
    look()
    assert found.get() == b"value"
