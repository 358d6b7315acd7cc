"""Everything about a run that changes while it trains, and what may act on it: callbacks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latticegraph.config import Config
from latticegraph.distributed import ALONE, Processes
from latticegraph.errors import CheckpointError
from latticegraph.hub import TeacherIdentity, load_weights
from latticegraph.losses import Objective
from latticegraph.model import Student
from latticegraph.training.batches import EmbeddingPairs
from latticegraph.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from latticegraph.training.checks import check_same_config, check_same_data
from latticegraph.training.machine import loss_scaler, random_state, restore_random_state
from latticegraph.training.optimizer import StudentOptimizer
from latticegraph.training.origin import (
    Origin,
    check_same_embeddings,
    check_same_teacher,
    check_same_text,
)
from latticegraph.training.plan import TrainingPlan
from latticegraph.training.progress import Reason, TrainingProgress
from latticegraph.training.run_folder import RunFolder
from latticegraph.training.running_means import RunningMeans


@dataclass(frozen=True)
class ValidationResult:
    """What a validation found.

    Attributes:
        values: metrics, unweighted loss terms, usage of the experts and spread.
        examples: decoded predictions beside their targets.
        best: whether the explained variance is the best so far.
        cube: of :meth:`~latticegraph.training.cube_monitor.CubeMonitor.measure`; empty where
            nothing was measured.
    """

    values: Mapping[str, Any]
    examples: Sequence[Mapping[str, Any]]
    best: bool
    cube: Mapping[str, Any] = field(default_factory=dict)


class Callback:
    """Base class of what happens besides the updates; each hook does nothing by default.

    Hooks are called in every process, in the order of ``state.callbacks``. Only the writer
    (``state.processes.is_writer``) may write files. A callback that asks to stop sets
    ``state.stop_requested``; the run then ends before the next update.

    Attributes:
        name: under which :meth:`state_dict` is stored in checkpoints; no two callbacks of a run
            may share it.
    """

    @property
    def name(self) -> str:
        """The name of the class."""
        return type(self).__name__

    def on_start(self, state: TrainingState) -> None:
        """Called once before the first update of a call of ``fit``, also after a resume."""

    def on_update_end(self, state: TrainingState) -> None:
        """Called after every update."""

    def on_validation(self, state: TrainingState, result: ValidationResult) -> None:
        """Called after every validation, before a checkpoint is written.

        The values are those of the mean of the weights where ``training.average_decay`` keeps one;
        the student holds the latest weights.
        """

    def on_epoch_end(self, state: TrainingState) -> None:
        """Called after the last update of every epoch and of the run, before its validation."""

    def on_end(self, state: TrainingState, reason: Reason) -> None:
        """Called once after the last update, unless an error ended the run."""

    def close(self) -> None:
        """Release files; called at the end of ``fit``, also after an error."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, as values that JSON can hold; called when one is written."""
        return {}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; called before :meth:`on_start`."""


class TrainingState:
    """A run in training: the model, its optimiser, and how far it has come.

    Args:
        config: the whole configuration.
        student: the model.
        objective: what is minimised.
        plan: phases and learning rates.
        folder: of the run.
        device: where the student computes.
        processes: of the run.
        teacher: whose embeddings the student learns; None where only embeddings are known.
        origin: of the pairs; None compares nothing but their means.

    Attributes:
        optimizer: of the student.
        progress: counters that a checkpoint keeps.
        means: running means since the last log line.
        scaler: of the loss.
        callbacks: in the order in which they are called.
        resumed: whether the run continues from a checkpoint.
        norms: gradient norm of every component in the latest update, where it is logged.
        seconds: duration of the latest update.
        train_seconds: duration of all updates of this call of ``fit``.
        began: when this call of ``fit`` began, by ``time.perf_counter``.
        stop_requested: set by a callback to end the run before the next update.
        signal: number of the signal that interrupted the run; 0: none.
    """

    def __init__(
        self,
        config: Config,
        student: Student,
        objective: Objective,
        plan: TrainingPlan,
        folder: RunFolder,
        device: torch.device,
        processes: Processes = ALONE,
        teacher: TeacherIdentity | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.teacher = teacher
        self.origin = origin
        self.config = config
        self.student = student
        self.objective = objective
        self.plan = plan
        self.folder = folder
        self.device = device
        self.processes = processes
        self.optimizer = StudentOptimizer(student, config.training)
        self.means = RunningMeans(student.dynamics.names, config.model.dynamics.steps)
        self.progress = TrainingProgress()
        self.scaler = loss_scaler(config.training.precision, device)
        self.callbacks: Sequence[Callback] = ()
        self.resumed = False
        self.norms: Mapping[str, Tensor | None] = {}
        self.seconds, self.train_seconds = 0.0, 0.0
        self.stop_requested = False
        self.signal = 0
        self.began = time.perf_counter()

    @property
    def at_end(self) -> bool:
        """Whether all updates are done."""
        return self.progress.update == self.plan.total

    def save(self, path: Path) -> None:
        """Write a checkpoint; does nothing in a process that is not the writer.

        It holds the latest weights to resume from and, where one is kept, the mean to predict with.

        Raises:
            CheckpointError: when the disk refuses.
        """
        if not self.processes.is_writer:
            return
        self.progress.scaler = self.scaler.state_dict()
        states = {callback.name: callback.state_dict() for callback in self.callbacks}
        self.progress.callbacks = {name: values for name, values in states.items() if values}
        snapshot = Checkpoint(
            self.config,
            self.progress,
            self.student.state_dict(),
            self.optimizer.tensors(),
            random_state(self.device),
            self.means.tensors(),
            self.objective.weighting.tensors(),
            self.teacher,
            self.optimizer.average.tensors(),
            self.origin,
        )
        write_checkpoint(path, snapshot)

    def restore(self, path: Path, train: EmbeddingPairs) -> None:
        """Continue from a checkpoint.

        Args:
            path: the checkpoint.
            train: the training pairs, which must be those it was trained on.

        Raises:
            CheckpointError: when it cannot be read, or belongs to other settings, other data or
                other callbacks.
        """
        stored = read_checkpoint(path)
        check_same_config(path, stored.config, self.config)
        self._check_origin(path, stored, train)
        self.progress = stored.progress
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(self.progress.scaler)
        self.optimizer.restore(stored.optimizer)
        self.optimizer.average.restore(stored.average)
        self.means.restore(stored.means, self.device)
        self.objective.weighting.restore(stored.weighting)
        self._restore_callbacks(path)
        restore_random_state(stored.random, self.device)
        self.resumed = True

    def _check_origin(self, path: Path, stored: Checkpoint, train: EmbeddingPairs) -> None:
        """Load the weights where text, teacher and embeddings are those they were trained with."""
        old, own = stored.origin, self.origin
        if old is not None and own is not None:
            check_same_text(path, old, own)
            check_same_teacher(path, stored.teacher, self.teacher)
        load_weights(path, self.student, stored.student)
        check_same_data(path, self.student, train)
        if old is not None and own is not None:
            check_same_embeddings(path, old, own, (stored.teacher, self.teacher))

    def _restore_callbacks(self, path: Path) -> None:
        stored = self.progress.callbacks
        known = {callback.name: callback for callback in self.callbacks}
        wanted = {name for name, callback in known.items() if callback.state_dict()}
        if stored.keys() - known.keys() or wanted - stored.keys():
            raise CheckpointError(
                str(path),
                f"expected the state of the callbacks {sorted(wanted)}, got that of "
                f"{sorted(stored)}",
                "Pass the callbacks that the run was started with, or start a new run",
            )
        for name, values in stored.items():
            known[name].load_state_dict(values)
