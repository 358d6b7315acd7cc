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


POSTPONING = """
import inspect, json, sys
from latticegraph.startup import tune_process
tune_process()
tune_process()
import latticegraph.pipeline.fit_run
import torch_geometric
list(map(inspect.getmodule, [inspect.currentframe()]))
ran = "torch_geometric.datasets.planetoid" in sys.modules
before = "transformers" in sys.modules
from torch_geometric.datasets import FakeDataset
print(json.dumps([ran, before, FakeDataset.__name__,
                  len(torch_geometric.datasets.__all__) > 50]))
"""


def test_startup_puts_off_what_a_run_does_not_use_and_no_more() -> None:
    done = subprocess.run(
        [sys.executable, "-c", POSTPONING], capture_output=True, text=True, check=True
    )
    ran, transformers, name, whole = json.loads(done.stdout)
    assert not ran, "the datasets of torch-geometric were imported although nothing used them"
    assert not transformers, "a run whose texts are embedded needs no transformers"
    assert (name, whole) == ("FakeDataset", True)
