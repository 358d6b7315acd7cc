"""Real processes that talk over gloo on this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

WORK = Path(__file__).with_name("work.py")
LIMIT = 240  # seconds until processes count as hanging

ADAPTIVE = {
    "model.dynamics.steps": 9,
    "model.dynamics.min_steps": 2,
    "model.dynamics.tolerance": 0.83,
    "model.dynamics.patience": 1,
}
OWN_TERM = {
    "losses.extra": [
        {"name": "own", "kind": f"{Path(__file__).with_name('own_term.py')}:OwnTerm", "weight": 2.0}
    ]
}
# Terms that compare samples, sum over cells or decode the code, with weights that are learned from
# gradients, all of them logged.
WEIGHED = {
    "losses.triplet": 0.3,
    "losses.triplet_margin": 1.5,
    "losses.contrastive": 0.3,
    "losses.distillation": 0.3,
    "losses.sparsity": 0.3,
    "losses.prefixes": 0.3,
    "losses.prefix_lengths": [3, 6],
    "losses.weighting": "gradnorm",
    "losses.weighting_rate": 0.1,
    "losses.gradnorm_every": 2,
    "training.shares_every": 2,
}
UNCERTAIN = WEIGHED | {
    "losses.weighting": "uncertainty",
    "model.gating.balance_weight": 0.0,
    "model.gating.z_weight": 0.0,
    **dict.fromkeys(
        ("losses.triplet", "losses.diversity", "losses.emergence", "losses.dynamics"), 0.0
    ),
}
RECIPE = {
    "training.average_decay": 0.9,
    "training.projection_weight_decay": 1.0,
    "training.betas": [0.8, 0.9],
}
DROPOUT = {
    "model.transformer.kind": "autoencoder",
    "model.transformer.dropout": 0.3,
    "model.mapper.input_noise": 0.2,
    "training.average_decay": 0.9,
}
READOUT_DROPOUT = DROPOUT | {"model.mapper.readout_dropout": 0.3}
# Nine planes, so that three processes hold more than the two that an edge spans.
SLABS: dict[str, Any] = {
    "run.parallel": "slabs",
    "lattice.dimensions": [9, 4, 5],
    "lattice.adaptive_radius_min": 2.0,
    "model.dynamics.steps": 5,
    "model.dynamics.min_steps": 5,
    "model.aggregation": "auto",
}
TABLE = {
    "model.messages.weights": "table",
    "model.messages.edge_hidden": 16,
    "model.messages.bounded": False,
}
# Steps so small that rounding stays small.
SLABS_FIT = {
    **SLABS,
    **DROPOUT,
    "model.mapper.readout": "surface",
    "training.phases": [
        {"name": "warm-up", "updates": 3, "learning_rate": 1e-5, "schedule": "constant"},
        {"name": "main", "updates": 5, "learning_rate": 2e-5},
    ],
}
SLABS_ADAPTIVE = (
    SLABS | ADAPTIVE | {"model.dynamics.min_steps": 4, "model.dynamics.tolerance": 0.98}
)
# Starting a process takes far longer than any of these, so that one start does all of them.
JOBS: dict[str, dict[str, Any]] = {
    "collectives": {"task": "collectives"},
    "all terms": {"task": "updates"},
    "adaptive": {"task": "updates", "changes": ADAPTIVE},
    "wire": {"task": "updates", "changes": {"model.dynamics.mode": "wire"}},
    "recomputed": {"task": "updates", "changes": {"training.activation_checkpointing": True}},
    # The states and the surface of all processes, read by a term that knows nothing of them.
    "own term": {"task": "updates", "changes": OWN_TERM},
    # Clipping would hide a gradient that is too large by a factor.
    "unclipped": {"task": "updates", "changes": {"training.clip_norm": 1e9}},
    "weighed": {"task": "updates", "changes": WEIGHED},
    "uncertain": {"task": "updates", "changes": UNCERTAIN},
    "recipe": {"task": "updates", "changes": RECIPE},
    "softmax": {"task": "updates", "changes": UNCERTAIN | {"losses.weighting": "softmax"}},
    "straight": {"task": "fit", "run": "straight", "changes": RECIPE},
    "stopped": {"task": "fit", "run": "stopped", "changes": RECIPE, "stop": [-1, 9]},
    "resumed": {"task": "fit", "run": "stopped", "changes": RECIPE, "resume": True},
    "dropout": {"task": "fit", "run": "dropout", "changes": READOUT_DROPOUT},
    "dropout stopped": {"task": "fit", "run": "again", "changes": READOUT_DROPOUT, "stop": [-1, 9]},
    "dropout resumed": {"task": "fit", "run": "again", "changes": READOUT_DROPOUT, "resume": True},
}
SLAB_JOBS: dict[str, dict[str, Any]] = {
    "swapped": {"task": "swapped"},
    "slabs": {
        "task": "updates",
        "changes": SLABS | {"model.mapper.readout": "surface", "training.clip_norm": 1e9},
    },
    "slabs states": {"task": "updates", "changes": SLABS},
    "slabs adaptive": {"task": "updates", "changes": SLABS_ADAPTIVE},
    "slabs own term": {"task": "updates", "changes": SLABS | OWN_TERM},
    "slabs weighed": {"task": "updates", "changes": SLABS | WEIGHED},
    "slabs table": {"task": "updates", "changes": SLABS | TABLE},
    "slabs recipe": {"task": "updates", "changes": SLABS | RECIPE},
    "slabs recomputed": {
        "task": "updates",
        "changes": SLABS | {"training.activation_checkpointing": True},
    },
    "slabs plain": {"task": "fit", "run": "slabs plain", "changes": SLABS},
    "slabs fit": {"task": "fit", "run": "slabs", "changes": SLABS_FIT},
    "slabs stopped": {"task": "fit", "run": "slabs again", "changes": SLABS_FIT, "stop": [-1, 9]},
    "slabs resumed": {"task": "fit", "run": "slabs again", "changes": SLABS_FIT, "resume": True},
}

Results = list[dict[str, dict[str, torch.Tensor]]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(size: int, folder: Path, jobs: dict[str, dict[str, Any]]) -> list[tuple[int, str]]:
    """Exit status and standard error of ``size`` processes that do ``jobs``.

    A ``stop`` by process -1 means the last one.
    """
    return start(size, str(WORK), str(folder), json.dumps(jobs))


def start(size: int, *words: str) -> list[tuple[int, str]]:
    """Exit status and standard error of ``size`` processes of Python, started as torchrun would.

    No process is left behind.
    """
    common = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = [
        subprocess.Popen(
            [sys.executable, *words],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        for rank in range(size)
    ]
    try:
        errors = [process.communicate(timeout=LIMIT)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, text) for process, text in zip(processes, errors, strict=True)]


@pytest.fixture(scope="session")
def run_jobs() -> Callable[..., list[tuple[int, str]]]:
    return run


@pytest.fixture(scope="session")
def start_processes() -> Callable[..., list[tuple[int, str]]]:
    return start


Done = Callable[[int], tuple[Path, Results]]


def runner(temporary: pytest.TempPathFactory, jobs: dict[str, dict[str, Any]]) -> Done:
    """A function from a number of processes to their folder and what each of them found."""

    @cache
    def done(size: int) -> tuple[Path, Results]:
        folder = temporary.mktemp(f"processes-{size}")
        ends = run(size, folder, jobs)
        assert all(status == 0 for status, _ in ends), "\n".join(text for _, text in ends)
        found: Results = []
        for rank in range(size):
            found.append({job: {} for job in jobs})
            for name, tensor in load_file(folder / f"{rank}.safetensors").items():
                job, _, rest = name.partition("/")
                found[rank][job][rest] = tensor
        return folder, found

    return done


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """What processes found that share the samples of a batch."""
    return runner(tmp_path_factory, JOBS)


@pytest.fixture(scope="session")
def slab_results(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """What processes found that hold slabs of one cube."""
    return runner(tmp_path_factory, SLAB_JOBS)
