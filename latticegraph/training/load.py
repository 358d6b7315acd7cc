"""A trained model out of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from latticegraph.hub import LatticeModel, LatticeModelConfig
from latticegraph.training.checkpoint import read_parts
from latticegraph.training.weight_average import averaged_weights


def load_checkpoint_model(
    path: str | Path, trust: Sequence[str] = (), device: str | torch.device = "cpu"
) -> LatticeModel:
    """Build the model of a checkpoint, with the mean of the weights where one is kept.

    Args:
        path: usually ``<run>/checkpoints/best.safetensors``.
        trust: class paths outside the package that the model may use; their code runs.
        device: where the student computes.

    Raises:
        CheckpointError: when the file is missing, damaged, foreign or of another version.
        ConfigError: the model names a class path that ``trust`` does not allow.
    """
    path = Path(path)
    metadata, parts = read_parts(path)
    config = LatticeModelConfig.from_json(metadata["model"], trust, str(path))
    weights = parts["student"] | averaged_weights(parts["average"])
    return LatticeModel.build(config, weights, path, device=device)
