"""Whether a checkpoint and a configuration describe the same training."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from latticegraph.config import Config
from latticegraph.errors import CheckpointError

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
    }
)
_SECTIONS = ("lattice", "model", "losses", "teacher", "data", "training")
_SHOWN = 3


def decisive_settings(config: Config) -> dict[str, Any]:
    """Dotted keys and values that decide the weights of a run, as JSON values."""
    tree = config.model_dump(mode="json")
    flat: dict[str, Any] = {"run.seed": tree["run"]["seed"]}
    for section in _SECTIONS:
        flat |= _flatten(section, tree[section])
    return {key: value for key, value in flat.items() if key not in FREE_KEYS}


def config_fingerprint(config: Config) -> str:
    """SHA-256 of :func:`decisive_settings`."""
    text = json.dumps(decisive_settings(config), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


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
