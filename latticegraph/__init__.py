"""A 3-D lattice of cells, a graph neural network, that learns to carry the meaning of text.

The names below load on first use, so that ``import latticegraph`` takes no time::

    from latticegraph import load_config, train

    outcome = train(load_config("configs/tiny.yaml"))
    outcome["report"]["student"]["explained_variance"]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latticegraph.config import Config, LatticeSettings, dump_config, load_config
    from latticegraph.data import Sample, load_samples
    from latticegraph.decoding import TextDecoder
    from latticegraph.errors import LatticeGraphError
    from latticegraph.evaluation import Metric
    from latticegraph.hub import LatticeModel
    from latticegraph.lattice import EdgeType, LatticeGraph, describe_lattice
    from latticegraph.losses import LossTerm, Objective
    from latticegraph.model import (
        EmbeddingToLatticeMapper,
        EmbeddingTransformer,
        GatingNetwork,
        Lattice3D,
        LatticeToEmbeddingExtractor,
        Student,
        StudentOutput,
        VolumeStateInitializer,
    )
    from latticegraph.pipeline import compare, describe, dry_run, evaluate, fit, report, train
    from latticegraph.teachers import EmbeddingCache, Teacher, build_teacher
    from latticegraph.training import (
        Callback,
        EmbeddingPairs,
        EmbeddingTrainer,
        TrainingResult,
        load_checkpoint_model,
    )

__version__ = "0.1.0"

__all__ = [
    "Callback",
    "Config",
    "EdgeType",
    "EmbeddingCache",
    "EmbeddingPairs",
    "EmbeddingToLatticeMapper",
    "EmbeddingTrainer",
    "EmbeddingTransformer",
    "GatingNetwork",
    "Lattice3D",
    "LatticeGraph",
    "LatticeGraphError",
    "LatticeModel",
    "LatticeSettings",
    "LatticeToEmbeddingExtractor",
    "LossTerm",
    "Metric",
    "Objective",
    "Sample",
    "Student",
    "StudentOutput",
    "Teacher",
    "TextDecoder",
    "TrainingResult",
    "VolumeStateInitializer",
    "build_teacher",
    "compare",
    "describe",
    "describe_lattice",
    "dry_run",
    "dump_config",
    "evaluate",
    "fit",
    "load_checkpoint_model",
    "load_config",
    "load_samples",
    "report",
    "train",
]

_ROOMS = {
    "config": ("Config", "LatticeSettings", "dump_config", "load_config"),
    "data": ("Sample", "load_samples"),
    "decoding": ("TextDecoder",),
    "errors": ("LatticeGraphError",),
    "evaluation": ("Metric",),
    "hub": ("LatticeModel",),
    "lattice": ("EdgeType", "LatticeGraph", "describe_lattice"),
    "losses": ("LossTerm", "Objective"),
    "model": (
        "EmbeddingToLatticeMapper",
        "EmbeddingTransformer",
        "GatingNetwork",
        "Lattice3D",
        "LatticeToEmbeddingExtractor",
        "Student",
        "StudentOutput",
        "VolumeStateInitializer",
    ),
    "pipeline": ("compare", "describe", "dry_run", "evaluate", "fit", "report", "train"),
    "teachers": ("EmbeddingCache", "Teacher", "build_teacher"),
    "training": (
        "Callback",
        "EmbeddingPairs",
        "EmbeddingTrainer",
        "TrainingResult",
        "load_checkpoint_model",
    ),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'latticegraph' has no attribute '{name}'")
    value = getattr(import_module(f"latticegraph.{_ROOM_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
