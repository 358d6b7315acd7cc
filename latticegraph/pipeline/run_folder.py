"""Which folder a run gets, and what it continues from."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from latticegraph.config import Config, dump_config
from latticegraph.errors import ConfigError
from latticegraph.files import advice, write_text
from latticegraph.run_lock import RunLock
from latticegraph.training import resolve_resume
from latticegraph.training.checkpoint import read_checkpoint
from latticegraph.training.checks import check_same_config

_log = logging.getLogger(__name__)

UNNAMED = "run"


@dataclass(frozen=True)
class FolderPlan:
    """The folder a run asks for, decided before anything slow.

    Attributes:
        path: ``run.output_dir`` / ``run.name``.
        checkpoint: what to continue from, None for a fresh start.
        reuse: go on in ``path`` although it exists.
    """

    path: Path
    checkpoint: Path | None
    reuse: bool


def plan_folder(config: Config, resume: str, lock: RunLock) -> FolderPlan:
    """Resolve ``resume`` without making anything; a folder that is continued is locked.

    ``false`` starts anew, in the next free folder where ``run.name`` is taken. ``true`` and
    ``auto`` continue ``run.name``; ``auto`` starts there where it has no checkpoint. A path
    continues that checkpoint: in place where it belongs to ``run.name``, else as a branch in a free
    folder.

    Args:
        config: ``run.output_dir`` and ``run.name`` decide the folder.
        resume: ``false``, ``true``, ``auto`` or the path of a checkpoint.
        lock: takes the folder before its checkpoint is read, where it is there and continued.

    Raises:
        CheckpointError: there is no such checkpoint, or it is of another configuration.
        ConfigError: another process holds the folder.
    """
    path = Path(config.run.output_dir).expanduser() / (config.run.name or UNNAMED)
    if resume == "false":
        return FolderPlan(path, None, reuse=False)
    if resume in ("true", "auto") and path.is_dir():
        lock.take(path)
    checkpoint = resolve_resume(resume, path)
    if checkpoint is None:
        return FolderPlan(path, None, reuse=True)
    reuse = checkpoint.resolve().parent.parent == path.resolve()
    if reuse:
        lock.take(path)
    check_same_config(checkpoint, read_checkpoint(checkpoint).config, config)
    return FolderPlan(path, checkpoint, reuse)


def make_folder(
    config: Config, plan: FolderPlan, lock: RunLock
) -> tuple[Config, Path, Path | None]:
    """Make the folder, lock it, and write ``config.yaml``, the resolved configuration, into it.

    Returns:
        The configuration with ``run.name`` as it turned out, the folder, and the checkpoint to
        continue from: also one that another process made there since the plan.

    Raises:
        ConfigError: the folder cannot be made or written, or another process holds it.
        CheckpointError: another process made a checkpoint there, of another configuration.
    """
    try:
        path = _claim(plan)
    except OSError as error:
        raise ConfigError(
            "run.output_dir",
            f"expected a folder in which '{plan.path}' can be made, got: {error.strerror}",
            advice(error),
        ) from error
    lock.take(path)
    if plan.reuse and plan.checkpoint is None:
        # Another process may have come and gone since the plan.
        plan = plan_folder(config, "auto", lock)
    if path != plan.path:
        _log.info(
            "run folder: %s is taken (use --resume to continue it), this run goes to %s",
            plan.path,
            path,
        )
    named = config.model_copy(update={"run": config.run.model_copy(update={"name": path.name})})
    write_text(path / "config.yaml", dump_config(named), "run.output_dir")
    return named, path, plan.checkpoint


def _claim(plan: FolderPlan) -> Path:
    """Make the folder; two processes that start at once get different ones."""
    plan.path.parent.mkdir(parents=True, exist_ok=True)
    if plan.reuse:
        plan.path.mkdir(exist_ok=True)
        return plan.path
    for number in count(1):
        name = plan.path.name if number == 1 else f"{plan.path.name}-{number}"
        path = plan.path.with_name(name)
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise AssertionError("count never ends")
