"""Real processes that talk over gloo on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from tests import processes

WORK = Path(__file__).with_name("work.py")

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
ANY = (1, 2, 3)
TWO = {"task": "fit", "sizes": (2,)}  # asked of two processes alone
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
    "stopped": TWO | {"run": "stopped", "changes": RECIPE, "stop": [-1, 9]},
    "resumed": TWO | {"run": "stopped", "changes": RECIPE, "resume": True},
    "dropout": TWO | {"run": "dropout", "changes": READOUT_DROPOUT},
    "dropout stopped": TWO | {"run": "again", "changes": READOUT_DROPOUT, "stop": [-1, 9]},
    "dropout resumed": TWO | {"run": "again", "changes": READOUT_DROPOUT, "resume": True},
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
    "slabs fit": TWO | {"run": "slabs", "changes": SLABS_FIT},
    "slabs stopped": TWO | {"run": "slabs again", "changes": SLABS_FIT, "stop": [-1, 9]},
    "slabs resumed": TWO | {"run": "slabs again", "changes": SLABS_FIT, "resume": True},
}

Results = list[dict[str, dict[str, torch.Tensor]]]


def run(size: int, folder: Path, jobs: dict[str, dict[str, Any]]) -> list[tuple[int, str]]:
    """Exit status and standard error of ``size`` processes that do ``jobs``.

    A ``stop`` by process -1 means the last one.
    """
    done = processes.run_together(size, [str(WORK), str(folder), json.dumps(jobs)])
    return [(process.returncode, process.stderr) for process in done]


@pytest.fixture(scope="session")
def run_jobs() -> Callable[..., list[tuple[int, str]]]:
    return run


Done = Callable[[int], tuple[Path, Results]]


def runner(temporary: pytest.TempPathFactory, name: str, jobs: dict[str, dict[str, Any]]) -> Done:
    """A function from a number of processes to their folder and what each of them found."""
    base = temporary.getbasetemp()
    # The workers of pytest-xdist share what one of them has computed.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    @cache
    def done(size: int) -> tuple[Path, Results]:
        folder = shared / f"{name}-{size}"
        with FileLock(f"{folder}.lock"):
            if not (folder / "done").exists():
                folder.mkdir()
                asked = {job: jobs[job] for job in jobs if size in jobs[job].get("sizes", ANY)}
                ends = run(size, folder, asked)
                assert all(status == 0 for status, _ in ends), "\n".join(text for _, text in ends)
                (folder / "done").touch()
        found: Results = []
        for rank in range(size):
            found.append({job: {} for job in jobs})
            for key, tensor in load_file(folder / f"{rank}.safetensors").items():
                job, _, rest = key.partition("/")
                found[rank][job][rest] = tensor
        return folder, found

    return done


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """What processes found that share the samples of a batch."""
    return runner(tmp_path_factory, "processes", JOBS)


@pytest.fixture(scope="session")
def slab_results(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """What processes found that hold slabs of one cube."""
    return runner(tmp_path_factory, "slabs", SLAB_JOBS)
