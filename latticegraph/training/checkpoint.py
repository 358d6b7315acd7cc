"""One checkpoint, one safetensors file: tensors, and everything else as JSON in its metadata.

The metadata holds ``model``, the very text of a saved model's ``config.json``, and ``trainer``, the
other sections of the configuration and the state of the trainer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from latticegraph.config import Config
from latticegraph.digests import tensors_sha256
from latticegraph.errors import CheckpointError
from latticegraph.files import advice, parse_json, replace_file
from latticegraph.hub import LatticeModelConfig, TeacherIdentity
from latticegraph.tensor_files import read_tensors
from latticegraph.training.checks import config_fingerprint
from latticegraph.training.origin import Origin
from latticegraph.training.progress import TrainingProgress

FORMAT = "latticegraph-checkpoint"
VERSION = 3
_PARTS = ("student", "optimizer", "average", "random", "means", "weighting")
_TRAINER_SECTIONS = ("run", "losses", "data", "training", "evaluation")

Parts = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class Checkpoint:
    """A training run at one moment.

    Attributes:
        config: the whole configuration.
        progress: counters and best values.
        student: parameters and buffers by name, as the latest update left them.
        optimizer: ``<moment>.<parameter>`` tensors of AdamW.
        average: exponential mean of the parameters, which a model is built with; none where it is
            not kept.
        random: generator states as bytes (uint8).
        means: running means since the last log line.
        weighting: learned factors on the weights of the loss terms; none where they are fixed.
        teacher: whose embeddings the student learns; None where only embeddings are known.
        origin: digests of text and embeddings; None where nobody asked for them.
    """

    config: Config
    progress: TrainingProgress
    student: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)
    random: Mapping[str, Tensor] = field(default_factory=dict)
    means: Mapping[str, Tensor] = field(default_factory=dict)
    weighting: Mapping[str, Tensor] = field(default_factory=dict)
    teacher: TeacherIdentity | None = None
    average: Mapping[str, Tensor] = field(default_factory=dict)
    origin: Origin | None = None


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically: the previous file is kept until the new one is on disk.

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
        "model": LatticeModelConfig.of(checkpoint.config, checkpoint.teacher).to_json(),
        "trainer": _trainer_json(path, checkpoint),
    }
    metadata["sha256"] = tensors_sha256(tensors, json.dumps(metadata, sort_keys=True))
    try:
        replace_file(path, lambda temporary: save_file(tensors, temporary, metadata))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            str(path),
            f"expected to write a checkpoint, got: {error}",
            f"{advice(error)}, then go on with --resume auto; the previous checkpoint is kept",
        ) from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint; tensors are on the CPU.

    Raises:
        CheckpointError: when it is missing, damaged, foreign or of another version.
    """
    metadata, parts = read_parts(path)
    try:
        model, trainer = parse_json(metadata["model"]), parse_json(metadata["trainer"])
        sections = {name: model[name] for name in ("lattice", "model", "teacher")}
        config = Config.model_validate(trainer["config"] | sections)
        progress = TrainingProgress.from_json(trainer["progress"])
        identity = model["identity"]
        teacher = None if identity is None else TeacherIdentity.model_validate(identity)
        origin = trainer["origin"]
        origin = None if origin is None else Origin.model_validate(origin)
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            str(path),
            f"expected settings that this version of latticegraph knows, got: {error}",
            "Use the version that wrote the checkpoint, or train again",
        ) from error
    return Checkpoint(config, progress, **parts, teacher=teacher, origin=origin)


def read_parts(path: Path) -> tuple[dict[str, str], Parts]:
    """Read and verify a checkpoint without interpreting its settings.

    Returns:
        Its metadata, and its tensors by part (``student``, ``optimizer``, ...) and name.

    Raises:
        CheckpointError: when it is missing, damaged, foreign or of another version.
    """
    if not path.is_file():
        raise CheckpointError(
            str(path), "expected a checkpoint, got no such file", "Check the path, or start anew"
        )
    try:
        metadata, tensors = read_tensors(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error
    if metadata.get("format") != FORMAT:
        raise _foreign(path)
    _check_version(path, metadata)
    stored = metadata.pop("sha256", None)
    if stored != tensors_sha256(tensors, json.dumps(metadata, sort_keys=True)):
        raise _damaged(path, "its checksum does not match")
    parts: Parts = {part: {} for part in _PARTS}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor
    return metadata, parts


def _trainer_json(path: Path, checkpoint: Checkpoint) -> str:
    tree = checkpoint.config.model_dump(mode="json")
    state = {
        "config": {name: tree[name] for name in _TRAINER_SECTIONS},
        "progress": checkpoint.progress.to_json(),
        "origin": None if checkpoint.origin is None else checkpoint.origin.model_dump(mode="json"),
    }
    try:
        return json.dumps(state, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            str(path),
            f"expected state of callbacks that JSON can hold, got: {error}",
            "Let the callback return numbers, text, lists and dicts",
        ) from error


def _check_version(path: Path, metadata: Mapping[str, str]) -> None:
    version = metadata.get("version", "")
    if version == str(VERSION):
        return
    if version.isdigit() and int(version) < VERSION:
        raise CheckpointError(
            str(path),
            f"expected checkpoint format {VERSION}, got {version}, written by an older version of "
            "latticegraph",
            "Use that version, or train again",
        )
    raise CheckpointError(
        str(path),
        f"expected checkpoint format {VERSION}, got {version}",
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
