"""A cube of 3 x 4 x 5 cells, embeddings of width 16, and runs that take a moment."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from latticegraph.config import Config
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Student, build_student
from latticegraph.training import MACHINE_FIELDS, EmbeddingPairs, EmbeddingTrainer, RunFolder

TREE: dict[str, Any] = {
    "run": {"threads": 1, "device": "cpu"},
    "lattice": {"dimensions": [3, 4, 5], "adaptive_radius_min": 1.6},
    "model": {
        "state_channels": 4,
        "mapper": {"readout_init": "zeros"},
        "dynamics": {"steps": 3, "min_steps": 3},
        "messages": {"edge_hidden": 4, "heads": 2},
        "transformer": {"hidden": 8},
    },
    "teacher": {"dimension": 16},
    "training": {
        "batch_size": 8,
        "phases": [{"name": "main", "epochs": 2, "learning_rate": 0.005}],
        "log_every": 2,
        "expert_lr_scale": 1.0,
    },
}


def _merged(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(tree)
    for key, value in changes.items():
        if isinstance(value, dict):
            result[key] = _merged(result.get(key, {}), value)
        else:
            result[key] = value
    return result


def _pairs(samples: int, seed: int) -> EmbeddingPairs:
    """Unit vectors near a subspace, so that a few numbers carry most of them."""
    basis = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(samples, 6, generator=generator) @ basis
    rows = rows + 0.3 * torch.randn(samples, 16, generator=generator)
    rows = rows / rows.norm(dim=1, keepdim=True)
    return EmbeddingPairs(rows, rows)


@pytest.fixture
def configure() -> Callable[..., Config]:
    """A tiny configuration with sections changed by keyword."""
    return lambda **changes: Config.model_validate(_merged(TREE, changes))


@pytest.fixture(scope="session")
def pairs() -> Callable[[int, int], EmbeddingPairs]:
    return _pairs


@pytest.fixture(scope="session")
def graph() -> LatticeGraph:
    return LatticeGraph.build(Config.model_validate(TREE).lattice)


@pytest.fixture
def build(graph: LatticeGraph) -> Callable[[Config], Student]:
    return lambda config: build_student(config.model, graph, 16, config.run.seed)


@pytest.fixture
def make(
    tmp_path: Path, graph: LatticeGraph, build: Callable[[Config], Student]
) -> Callable[..., EmbeddingTrainer]:
    """A trainer that writes into a folder of the test and keeps quiet."""

    def trainer(config: Config, folder: str = "run", **options: Any) -> EmbeddingTrainer:
        options = {
            "train": _pairs(44, 1),
            "validation": _pairs(20, 2),
            "cache_hit_rate": 0.25,
            "console": Console(file=io.StringIO()),
        } | options
        return EmbeddingTrainer(config, build(config), graph, run_dir=tmp_path / folder, **options)

    return trainer


@pytest.fixture
def records() -> Callable[..., list[dict[str, Any]]]:
    """The metrics of a run, by default without what depends on the machine's speed."""

    def read(trainer: EmbeddingTrainer, timed: bool = False) -> list[dict[str, Any]]:
        lines = trainer.state.folder.metrics.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        if timed:
            return rows
        return [{k: v for k, v in row.items() if k not in MACHINE_FIELDS} for row in rows]

    return read


@pytest.fixture
def tensors() -> Callable[[EmbeddingTrainer], dict[str, torch.Tensor]]:
    """Copies of all weights, buffers and moments."""

    def collect(trainer: EmbeddingTrainer) -> dict[str, torch.Tensor]:
        both = trainer.student.state_dict() | trainer.state.optimizer.tensors()
        return {name: tensor.clone() for name, tensor in both.items()}

    return collect


@pytest.fixture(scope="session")
def curve() -> Callable[[RunFolder], list[tuple[int, float]]]:
    """The loss of a run as TensorBoard shows it: update and value."""

    def read(folder: RunFolder) -> list[tuple[int, float]]:
        events = EventAccumulator(str(folder.events))
        events.Reload()
        return [(event.step, event.value) for event in events.Scalars("train/losses/total")]

    return read
