"""EmbeddingTrainer: puts a run together and runs its loop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from latticegraph.config import Config
from latticegraph.distributed import ALONE, Processes, copy_from_writer
from latticegraph.errors import ConfigError
from latticegraph.hub import TeacherIdentity
from latticegraph.lattice import LatticeGraph
from latticegraph.losses import Objective, build_objective
from latticegraph.model import Student
from latticegraph.training.batches import EmbeddingPairs, Sampler
from latticegraph.training.callbacks import (
    Checkpointing,
    EarlyStopping,
    Logging,
    Validation,
    Validator,
)
from latticegraph.training.checks import check_pairs, check_phases, check_processes
from latticegraph.training.cube_monitor import CubeMonitor
from latticegraph.training.loop import run_loop
from latticegraph.training.machine import StopSignals, resolve_device, training_session
from latticegraph.training.origin import Origin, TextDigests
from latticegraph.training.plan import TrainingPlan
from latticegraph.training.progress import Reason, TrainingResult
from latticegraph.training.run_folder import RunFolder
from latticegraph.training.state import Callback, TrainingState
from latticegraph.training.update import Updater


class EmbeddingTrainer:
    """Trains a student on pairs of embeddings.

    Same seed, same threads, same CPU result, bit for bit, also across an interruption. Up to
    rounding on a GPU, and with any number of processes. Only dropout and noise, of which every
    process that shares a batch draws its own, depend on that number; the same one repeats them.

    Args:
        config: the whole configuration.
        student: the model, as built; :meth:`fit` gives it its data-driven start.
        graph: the lattice the student was built on.
        train: pairs to learn, of the student's type.
        validation: pairs for early stopping and the choice of the best checkpoint.
        run_dir: folder of this run.
        cache_hit_rate: share of texts whose embedding was on disk, 0 to 1, for the log.
        validation_texts: target text of every validation pair; with it every validation shows
            decoded examples.
        console: where to show progress; None: standard output.
        processes: of the run; only the writer makes files and shows progress.
        callbacks: called in order, after logging and early stopping and before validation and
            checkpoints.
        teacher: whose embeddings the pairs hold; its identity is kept in the checkpoints.
        sampler: of the batches; None: every epoch shows all training pairs in a random order.
        texts: digests of the texts of the pairs, which a resumed run must meet again; with None the
            embeddings must be the same bit for bit.

    Attributes:
        state: the run: student, objective, optimiser, plan and progress.

    Raises:
        ConfigError: when the batch exceeds the training pairs or cannot be divided among processes,
            a phase has nothing to train, the device is missing, or two callbacks share a name.
        DataError: when the pairs do not have the width and type of the student.
    """

    def __init__(
        self,
        config: Config,
        student: Student,
        graph: LatticeGraph,
        train: EmbeddingPairs,
        validation: EmbeddingPairs,
        run_dir: Path,
        cache_hit_rate: float | None = None,
        validation_texts: Sequence[str] | None = None,
        console: Console | None = None,
        processes: Processes = ALONE,
        callbacks: Sequence[Callback] = (),
        sampler: Sampler | None = None,
        teacher: TeacherIdentity | None = None,
        texts: TextDigests | None = None,
    ) -> None:
        check_processes(config, processes)
        check_pairs(student, train, validation)
        check_phases(config)
        settings = config.training
        self.student, self.train = student, train
        plan = TrainingPlan(settings, len(train))
        self.sampler = Sampler(train, plan, config.run.seed) if sampler is None else sampler
        objective = training_objective(config, graph, student, train)
        objective.set_processes(processes)
        device, folder = resolve_device(config.run, processes), RunFolder(Path(run_dir))
        origin = Origin.of(texts, train, validation, config.run, device, processes)
        self.state = TrainingState(
            config, student, objective, plan, folder, device, processes, teacher, origin
        )
        self.updater = Updater(
            student, objective, self.state.optimizer, settings, folder, processes, self.state.scaler
        )
        shown = validation_texts if processes.is_writer else None
        self.validator = Validator(config, validation, train.target_mean_D, shown, processes)
        self.logging = Logging(cache_hit_rate, console)
        watched_ND = validation.source_ND[self.validator.index_N]
        monitor = CubeMonitor(graph, watched_ND, settings.monitor_samples, settings.precision)
        self.validation = Validation(
            self.validator, settings.validate_every, monitor if processes.is_writer else None
        )
        self.state.callbacks = (
            self.logging,
            EarlyStopping(settings.early_stopping),
            *callbacks,
            self.validation,
            Checkpointing(settings),
        )
        _check_names(self.state.callbacks)

    def fit(self, resume_from: Path | None = None) -> TrainingResult:
        """Train to the end of all phases, to early stopping, or to a signal.

        Afterwards the student holds the latest weights, not their mean; the best ones, which a
        model predicts with, are in the best checkpoint.

        Args:
            resume_from: a checkpoint to go on from; None for a new run.

        Raises:
            CheckpointError: when the checkpoint cannot be used, a new run would overwrite an
                earlier one, or the disk refuses.
            TrainingError: when a number is no longer finite.
        """
        state, run = self.state, self.state.config.run
        state.began = time.perf_counter()
        exact = state.config.model.init.reproducible
        with training_session(run, state.device, exact), StopSignals() as signals:
            self._place()
            self._start() if resume_from is None else self._resume(resume_from)
            done = state.progress.update
            with ExitStack() as open_callbacks:
                for callback in state.callbacks:
                    open_callbacks.callback(callback.close)
                reason = run_loop(state, self.sampler, self.updater, signals)
            state.processes.barrier()  # nobody returns before the files are whole
        state.optimizer.select("all")
        return self._result(reason, state.progress.update - done)

    def _place(self) -> None:
        """Bring everything to the device, and the objective to the student's type."""
        state = self.state
        state.student.to(state.device)
        state.objective.to(state.device, state.student.std.dtype)
        state.student.dynamics.checkpoint_steps = state.config.training.recomputed_steps

    def _start(self) -> None:
        state, device = self.state, self.state.device
        if state.processes.is_writer:
            state.folder.start()
        state.student.eval()
        source_ND, target_ND = self.train.source_ND, self.train.target_ND
        state.student.start_from_data(source_ND.to(device), target_ND.to(device))
        # Another machine may round the same start differently.
        copy_from_writer(state.student.state_dict().values(), state.processes)

    def _resume(self, path: Path) -> None:
        state = self.state
        state.restore(path, self.train)
        if state.processes.is_writer:
            state.folder.resume(path, state.progress.epoch, self.logging.metrics_bytes)

    def _result(self, reason: Reason, updates: int) -> TrainingResult:
        state, validation = self.state, self.validation
        assert validation.best_value is not None, "every run validates before its first update"
        settings = state.config.training
        samples = updates * settings.batch_size * settings.accumulate
        return TrainingResult(
            updates=state.progress.update,
            epochs=state.progress.epoch,
            reason=reason,
            best_explained_variance=validation.best_value,
            best_update=validation.best_update,
            samples_per_second=samples / state.train_seconds if updates else 0.0,
            seconds=time.perf_counter() - state.began,
            signal=state.signal or None,
            best_checkpoint=state.folder.best,
            last_checkpoint=state.folder.last,
        )


def _check_names(callbacks: Sequence[Callback]) -> None:
    names = [callback.name for callback in callbacks]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                "callbacks",
                f"expected callbacks of different names, got several named '{name}'",
                "Override the property name of one of them: checkpoints store its state under it",
            )


def training_objective(
    config: Config, graph: LatticeGraph, student: Student, train: EmbeddingPairs
) -> Objective:
    """The loss terms of a run, scaled by the targets of its training pairs.

    Args:
        config: losses, gating and phases apply.
        graph: the lattice.
        student: the model to train; only looked at.
        train: the training pairs.

    Raises:
        ConfigError: as for :func:`~latticegraph.losses.build_objective`.
        DataError: the targets do not vary.
    """
    return build_objective(
        config.losses,
        config.model.gating,
        train.target_mean_D,
        train.target_variance,
        graph,
        student.dynamics.backend,
        student.dynamics.cells,
        config.training.phases,
        student,
    )
