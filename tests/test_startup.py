"""What a process sets before it imports torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, json, os, sys
calls = []
real = ctypes.CDLL
class Library:
    def mallopt(self, name, value):
        calls.append([name, value])
        return real("libc.so.6").mallopt(name, value)
ctypes.CDLL = lambda name: Library()
from latticegraph.startup import tune_process
tune_process()
names = ("GOMP_SPINCOUNT", "THP_MEM_ALLOC_ENABLE")
heavy = sorted(set(sys.modules) & {"torch", "numpy", "torch_geometric"})
print(json.dumps([{n: os.environ.get(n) for n in names}, heavy, calls]))
"""


def tuned(**given: str) -> tuple[dict[str, str], list[str], list[list[int]]]:
    """Environment, heavy modules and calls of mallopt, after tuning a fresh process."""
    names = {"GOMP_SPINCOUNT", "THP_MEM_ALLOC_ENABLE"}
    environment = {k: v for k, v in os.environ.items() if k not in names} | given
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment
    )
    variables, heavy, calls = json.loads(done.stdout)
    return variables, heavy, calls


def test_startup_sets_what_the_environment_leaves_open_and_imports_no_torch() -> None:
    variables, heavy, _ = tuned()
    assert variables == {"GOMP_SPINCOUNT": "10000", "THP_MEM_ALLOC_ENABLE": "1"}
    assert heavy == []


def test_startup_leaves_what_the_user_set() -> None:
    variables, _, _ = tuned(GOMP_SPINCOUNT="77", THP_MEM_ALLOC_ENABLE="0")
    assert variables == {"GOMP_SPINCOUNT": "77", "THP_MEM_ALLOC_ENABLE": "0"}
    variables, _, _ = tuned(GOMP_SPINCOUNT="77")
    assert variables == {"GOMP_SPINCOUNT": "77", "THP_MEM_ALLOC_ENABLE": "1"}


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_startup_keeps_freed_memory() -> None:
    """M_MMAP_THRESHOLD (-3) at its largest, M_TRIM_THRESHOLD (-1) out of reach; see mallopt(3)."""
    assert tuned()[2] == [[-3, 32 * 2**20], [-1, 2**31 - 1]]
