"""One checkpoint, one safetensors file: tensors, and everything else as JSON in its metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from latticegraph.config import Config
from latticegraph.errors import CheckpointError
from latticegraph.files import replace_file
from latticegraph.training.checks import config_fingerprint
from latticegraph.training.progress import TrainingProgress

FORMAT = "latticegraph-checkpoint"
VERSION = 1
_PARTS = ("student", "optimizer", "random", "means")


@dataclass(frozen=True)
class Checkpoint:
    """A training run at one moment.

    Attributes:
        config: the whole configuration.
        progress: counters and best values.
        student: parameters and buffers by name.
        optimizer: ``<moment>.<parameter>`` tensors of AdamW.
        random: generator states as bytes (uint8).
        means: running means since the last log line.
    """

    config: Config
    progress: TrainingProgress
    student: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)
    random: Mapping[str, Tensor] = field(default_factory=dict)
    means: Mapping[str, Tensor] = field(default_factory=dict)


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file whole or not at all; what was at ``path`` stays until the new one is on disk.

    Raises:
        CheckpointError: when the disk is full or refuses; the previous file is kept.
    """
    tensors = {
        f"{part}/{name}": tensor.detach().to("cpu").contiguous()
        for part in _PARTS
        for name, tensor in getattr(checkpoint, part).items()
    }
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "fingerprint": config_fingerprint(checkpoint.config),
        "config": json.dumps(checkpoint.config.model_dump(mode="json"), ensure_ascii=False),
        "progress": json.dumps(checkpoint.progress.to_json()),
    }
    metadata["sha256"] = _digest(metadata, tensors)
    try:
        replace_file(path, lambda temporary: save_file(tensors, temporary, metadata))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            str(path),
            f"expected to write a checkpoint, got: {error}",
            "Free disk space or make the folder writable, then start again with --resume auto; the "
            "previous checkpoint is kept",
        ) from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint; tensors are on the CPU.

    Raises:
        CheckpointError: when it is missing, damaged, foreign or of another version.
    """
    if not path.is_file():
        raise CheckpointError(
            str(path), "expected a checkpoint, got no such file", "Check the path, or start anew"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = dict(file.metadata() or {})
            if metadata.get("format") != FORMAT:
                raise _foreign(path)
            _check_version(path, metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error
    stored = metadata.pop("sha256", None)
    if stored != _digest(metadata, tensors):
        raise _damaged(path, "its checksum does not match")
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor
    try:
        config = Config.model_validate(json.loads(metadata["config"]))
        progress = TrainingProgress.from_json(json.loads(metadata["progress"]))
    except (ValidationError, KeyError) as error:
        raise CheckpointError(
            str(path),
            f"expected settings that this version of latticegraph knows, got: {error}",
            "Use the version that wrote the checkpoint, or train again",
        ) from error
    return Checkpoint(config, progress, **parts)


def load_weights(path: Path, module: torch.nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy stored weights and buffers into ``module``, all of them.

    Raises:
        CheckpointError: naming the first tensor that is missing, unknown or of another shape.
    """
    expected = module.state_dict()
    for name in sorted(expected.keys() | weights.keys()):
        wanted = list(expected[name].shape) if name in expected else "no such tensor"
        found = list(weights[name].shape) if name in weights else "none"
        if wanted != found:
            raise CheckpointError(
                str(path),
                f"expected the tensor '{name}' of shape {wanted}, got {found}",
                "Use the version of latticegraph that wrote the checkpoint, or train again",
            )
    module.load_state_dict(dict(weights))


def _digest(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode("utf-8"))
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_version(path: Path, metadata: Mapping[str, str]) -> None:
    if metadata.get("version") != str(VERSION):
        raise CheckpointError(
            str(path),
            f"expected checkpoint format {VERSION}, got {metadata.get('version')}",
            "Use the version of latticegraph that wrote it, or train again",
        )


def _foreign(path: Path) -> CheckpointError:
    return CheckpointError(
        str(path),
        "expected a latticegraph checkpoint, got a safetensors file of something else",
        "Name a file from the checkpoints folder of a run",
    )


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        str(path),
        f"expected an intact checkpoint, got a damaged or foreign file ({reason})",
        "Resume from another file in the same folder, or start anew",
    )
