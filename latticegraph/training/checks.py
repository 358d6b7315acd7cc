"""Checks before the first update: configuration, pairs and checkpoint must fit together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from latticegraph.config import Config
from latticegraph.digests import text_sha256
from latticegraph.distributed import Processes
from latticegraph.errors import CheckpointError, ConfigError, DataError
from latticegraph.model import Student
from latticegraph.training.batches import EmbeddingPairs

# What changes the place, the memory, the logs or the files of a run, and no weight.
FREE_KEYS = frozenset(
    {
        "lattice.cache_dir",
        "model.max_memory_gb",
        "model.target_performance_ms",
        "teacher.batch_size",
        "teacher.cache_dir",
        "teacher.max_cache_size_gb",
        "training.activation_checkpointing",
        "training.checkpoint_steps",
        "training.checkpoint_every",
        "training.keep_checkpoints",
        "training.log_every",
        "training.monitor_samples",
        "training.shares_every",
    }
)
_SECTIONS = ("lattice", "model", "losses", "teacher", "data", "training")
# Beside these sections: validation decides which checkpoint is the best one.
_DECISIVE_KEYS = (
    ("run", "seed"),
    ("evaluation", "batch_size"),
    ("evaluation", "validation_samples"),
)
_SHOWN = 3


def check_pairs(student: Student, train: EmbeddingPairs, validation: EmbeddingPairs) -> None:
    """Refuse pairs whose width or type is not that of the student.

    Raises:
        DataError: naming both widths, or both types.
    """
    for name, pairs in (("train", train), ("validation", validation)):
        if pairs.width != student.teacher_dimension:
            raise DataError(
                f"pairs.{name}",
                f"expected embeddings of width {student.teacher_dimension} (teacher.dimension), "
                f"got {pairs.width}",
                "Set teacher.dimension to the width of the teacher",
            )
        if pairs.source_ND.dtype != student.std.dtype:
            raise DataError(
                f"pairs.{name}",
                f"expected embeddings of the student's type {student.std.dtype}, got "
                f"{pairs.source_ND.dtype}",
                "Convert the pairs or the student",
            )


def check_phases(config: Config) -> None:
    """Refuse a phase that trains only experts which the dynamics never call.

    Raises:
        ConfigError: naming the phase.
    """
    mode = config.model.dynamics.mode
    for index, phase in enumerate(config.training.phases):
        if phase.train == "experts" and mode != "lattice":
            raise ConfigError(
                f"training.phases.{index}.train",
                f"expected all or projections with model.dynamics.mode '{mode}', got 'experts'",
                "Set it to all, or model.dynamics.mode to lattice",
            )


def check_processes(config: Config, processes: Processes) -> None:
    """Refuse processes that cannot share the work equally.

    Raises:
        ConfigError: when the batch cannot be divided. Slabs of the cube are checked where they are
            cut.
    """
    size, batch = processes.size, config.training.batch_size
    if size == 1 or config.run.parallel == "slabs":
        return
    if batch % size:
        near = [n for n in (batch - batch % size, batch - batch % size + size) if n]
        raise ConfigError(
            "training.batch_size",
            f"expected a multiple of {size}, the processes that share each batch, got {batch}",
            f"Set training.batch_size to {' or '.join(map(str, near))}, or start another number of "
            "processes (torchrun --nproc-per-node)",
        )


def check_same_data(path: Path, student: Student, train: EmbeddingPairs) -> None:
    """Refuse to go on with other training embeddings; the means a student keeps tell them apart.

    Args:
        path: the checkpoint, for the error.
        student: with the weights and means of the checkpoint.
        train: the pairs to go on with.

    Raises:
        CheckpointError: when a mean differs.
    """
    # Far above the rounding of another machine, below what one changed text in 10^4 does.
    tolerance = 1e-5 * float(student.std)
    means = {
        "source": (student.mean_D, train.source_ND.mean(0)),
        "target": (student.target_mean_D, train.target_mean_D),
    }
    for name, (stored_D, mean_D) in means.items():
        gap = float((stored_D.cpu() - mean_D).abs().max())
        if gap > tolerance:
            raise CheckpointError(
                str(path),
                f"expected the training embeddings it was trained on, got {name} embeddings "
                f"whose mean differs by {gap:.2g}",
                "Restore the files of data.train and the teacher, or start a new run",
            )


def decisive_settings(config: Config) -> dict[str, Any]:
    """Dotted keys and values that decide the weights of a run, as JSON values."""
    tree = config.model_dump(mode="json")
    flat: dict[str, Any] = {
        f"{section}.{key}": tree[section][key] for section, key in _DECISIVE_KEYS
    }
    for section in _SECTIONS:
        flat |= _flatten(section, tree[section])
    return {key: value for key, value in flat.items() if key not in FREE_KEYS}


def config_fingerprint(config: Config) -> str:
    """SHA-256 of :func:`decisive_settings`."""
    text = json.dumps(decisive_settings(config), sort_keys=True)
    return text_sha256(text)


def check_same_config(path: Path, stored: Config, wanted: Config) -> None:
    """Refuse to go on with other settings than those the checkpoint was trained with.

    Raises:
        CheckpointError: naming the first dotted keys that differ, with both values.
    """
    old, new = decisive_settings(stored), decisive_settings(wanted)
    different = [key for key in old | new if old.get(key) != new.get(key)]
    if not different:
        return
    shown = [
        f"{key} is {_text(old, key)} in the checkpoint and {_text(new, key)} in the configuration"
        for key in different[:_SHOWN]
    ]
    if len(different) > _SHOWN:
        shown.append(f"{len(different) - _SHOWN} more keys differ")
    action = "Set these keys back to resume, or start a new run under another run.name"
    if any(key.startswith("training.phases") for key in different):
        action += " (phases cannot change in mid-run: their schedules depend on their lengths)"
    raise CheckpointError(
        str(path), f"expected a checkpoint of this configuration, but {'; '.join(shown)}", action
    )


def _flatten(prefix: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in items:
        flat |= _flatten(f"{prefix}.{key}", item)
    return flat


def _text(settings: dict[str, Any], key: str) -> str:
    return json.dumps(settings[key], ensure_ascii=False) if key in settings else "absent"
