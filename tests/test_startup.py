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


COMPILER = """
import json, sys
from latticegraph.startup import tune_process
tune_process()
import torch
from latticegraph import LatticeGraph, LatticeSettings
from latticegraph.config import Config
from latticegraph.model import build_student
from latticegraph.training.machine import training_session
from latticegraph.training.optimizer import StudentOptimizer
config = Config.model_validate({"lattice": {"dimensions": [3, 4, 5], "adaptive_radius_min": 1.6}})
student = build_student(config.model, LatticeGraph.build(config.lattice), 24)
optimizer = StudentOptimizer(student, config.training)
before = student.extractor.offset.detach().clone()
with training_session(config.run, torch.device("cpu"), True):
    student(torch.randn(2, 24)).embedding_BD.square().sum().backward()
    optimizer.step(0.1, torch.amp.GradScaler("cpu", enabled=False))
moved = not torch.equal(before, student.extractor.offset)
loaded = [name for name in sys.modules if name.startswith("torch._dynamo.")]
import torch._dynamo.config
doubled = torch.compile(lambda x: 2 * x, backend="eager")(torch.ones(3))
print(json.dumps([moved, loaded, doubled.tolist(), torch._dynamo.config.__name__]))
"""


def test_an_update_does_without_the_compiler_which_stays_usable() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMPILER], capture_output=True, text=True, check=True
    )
    moved, loaded, doubled, name = json.loads(done.stdout)
    assert moved
    assert loaded == []
    assert (doubled, name) == ([2.0, 2.0, 2.0], "torch._dynamo.config")
