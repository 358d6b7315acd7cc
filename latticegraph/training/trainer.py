"""EmbeddingTrainer: all phases of a run, from the data-driven start to the last checkpoint."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from latticegraph.config import Config
from latticegraph.distributed import ALONE, Processes, copy_from_writer
from latticegraph.lattice import LatticeGraph
from latticegraph.losses import CombinedLoss
from latticegraph.model import Student
from latticegraph.training.inputs import check_phases, check_processes, check_widths
from latticegraph.training.machine import peak_memory_mb, resolve_device, training_session
from latticegraph.training.pairs import EmbeddingPairs
from latticegraph.training.plan import TrainingPlan, seed_process
from latticegraph.training.progress import Reason, TrainingResult
from latticegraph.training.records import find_warnings, head, train_record
from latticegraph.training.reporter import Reporter
from latticegraph.training.run_folder import RunFolder
from latticegraph.training.signals import StopSignals
from latticegraph.training.state import RunState
from latticegraph.training.updater import Updater
from latticegraph.training.validation import Validator
from latticegraph.training.whole_batch import sum_over_processes


class EmbeddingTrainer:
    """Trains a student on pairs of embeddings.

    Same seed, same threads, same CPU result, bit for bit, also across an interruption. Up to
    rounding on a GPU, and with any number of processes (but for dropout, drawn by each of them).

    Args:
        config: the whole configuration.
        student: the model, as built; :meth:`fit` gives it its data-driven start.
        graph: the lattice the student was built on.
        train: pairs to learn.
        validation: pairs for early stopping and the choice of the best checkpoint.
        run_dir: folder of this run.
        cache_hit_rate: share of texts whose embedding was on disk, 0 to 1, for the log.
        validation_texts: target text of every validation pair; with it every validation shows
            decoded examples.
        console: where to show progress; None: standard output.
        processes: of the run; only the writer makes files and shows progress.

    Raises:
        ConfigError: when the batch exceeds the training pairs or cannot be divided among processes,
            a phase has nothing to train, or the device is missing.
        DataError: when the pairs do not have the width of the teacher.
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
    ) -> None:
        check_processes(config, processes)
        check_widths(student, train, validation)
        check_phases(config)
        self.config = config
        self.processes = processes
        self.student = student
        self.train = train
        self.device = resolve_device(config.run, processes)
        self.plan = TrainingPlan(config.training, len(train), config.run.seed)
        self.folder = RunFolder(Path(run_dir))
        self.state = RunState(config, student, self.device, cache_hit_rate)
        mean_D = train.target_ND.mean(0)
        variance = float(train.target_ND.var(0, correction=0).mean())
        backend = student.dynamics.backend
        self.loss = CombinedLoss(
            config.losses, config.model.gating, mean_D, variance, graph, backend
        )
        sum_over_processes(self.loss, processes)
        self.updater = Updater(
            student,
            self.loss,
            self.state.optimizer,
            config.training,
            self.folder,
            processes,
            self.state.scale,
        )
        texts = validation_texts if processes.is_writer else None
        self.validator = Validator(config, validation, mean_D, texts, processes)
        self._output = console

    def fit(self, resume_from: Path | None = None) -> TrainingResult:
        """Train to the end of all phases, to early stopping, or to a signal.

        Afterwards the student holds the latest weights; the best ones are in the best checkpoint.

        Args:
            resume_from: a checkpoint to go on from; None for a new run.

        Raises:
            CheckpointError: when the checkpoint cannot be used, a new run would overwrite an
                earlier one, or the disk refuses.
            TrainingError: when a number is no longer finite.
        """
        self._began = time.perf_counter()
        self._spent, self._samples = 0.0, 0
        exact = self.config.model.init.reproducible
        with training_session(self.config.run, self.device, exact), StopSignals() as stop:
            self._place()
            self._start() if resume_from is None else self._resume(resume_from)
            done = None if resume_from is None else self.state.progress.update
            with self._make_reporter(done) as self._reporter:
                if done is None:
                    self._validate()
                    self._save(self.folder.last)
                reason, number = self._train_until(stop)
            self.processes.barrier()  # nobody returns before the files are whole
        self.state.optimizer.select("all")
        return self._result(reason, number)

    def _train_until(self, stop: StopSignals) -> tuple[Reason, int | None]:
        """How it ended, and the signal that ended it; the same in every process."""
        patience = self.config.training.early_stopping.patience
        # A signal may reach one process only: all stop before the same update.
        while not (number := self.processes.largest(stop.number or 0)):
            if self._at_end():
                return "finished", None
            if 0 < patience <= self.state.progress.stale:
                return "early", None
            self._update()
            self._report()
            if self.plan.ends_epoch(self.state.progress.update) or self._at_end():
                self._end_epoch()
        self._save(self.folder.last)
        return "interrupted", number

    def _make_reporter(self, done: int | None) -> Reporter:
        silent = not self.processes.is_writer
        return Reporter(self.folder, self.plan.total, done, self._output, silent)

    def _place(self) -> None:
        """Bring everything to the device."""
        self.student.to(self.device)
        self.loss.to(self.device)
        self.student.dynamics.checkpoint_steps = self.config.training.recomputed_steps

    def _start(self) -> None:
        if self.processes.is_writer:
            self.folder.start()
        self.student.eval()
        source_ND, target_ND = self.train.source_ND, self.train.target_ND
        self.student.start_from_data(source_ND.to(self.device), target_ND.to(self.device))
        # Another machine may round the same start differently.
        copy_from_writer(self.student.state_dict().values(), self.processes)

    def _resume(self, path: Path) -> None:
        self.state.restore(path, self.train)
        progress = self.state.progress
        if self.processes.is_writer:
            self.folder.resume(path, progress.epoch, progress.metrics_bytes)

    def _update(self) -> None:
        settings, progress = self.config.training, self.state.progress
        began = time.perf_counter()
        moment = self.plan.moment(progress.update)
        phase = settings.phases[moment.phase]
        self.state.optimizer.select(phase.train)
        batches = (self.train.rows(i, self.device) for i in self.plan.batches(progress.update))
        number = progress.update + 1
        # Processes that hold slabs of one cube run the same samples and must drop the same units.
        slabs = not self.student.dynamics.cells.is_whole
        drawing = replace(self.processes, rank=0) if slabs else self.processes
        seed_process(self.config.run.seed, number, drawing)
        self._norms = self.updater.update(
            batches, moment, number, self.state.window, self._is_logged(number)
        )
        progress.update, progress.phase = number, phase.name
        progress.epoch = number // self.plan.updates_per_epoch
        seconds = time.perf_counter() - began
        progress.window_seconds += seconds
        self._spent += seconds
        self._samples += settings.batch_size * settings.accumulate

    def _report(self) -> None:
        progress, window = self.state.progress, self.state.window
        self._reporter.advance(progress.update)
        if not self._is_logged(progress.update):
            return
        means, passes = window.means(), window.passes()
        record = train_record(progress, self.plan, self.config, means, passes, self._norms)
        record["peak_memory_mb"] = peak_memory_mb(self.device)
        record["seconds"] = time.perf_counter() - self._began
        self._reporter.train(record)
        window.clear()
        progress.window_seconds = 0.0

    def _end_epoch(self) -> None:
        settings, progress = self.config.training, self.state.progress
        complete = self.plan.ends_epoch(progress.update)
        validate = self._at_end() or progress.epoch % settings.validate_every == 0
        periodic = complete and progress.epoch % settings.checkpoint_every == 0
        if validate:
            self._validate()
        if periodic:
            self._save(self.folder.epoch(progress.epoch))
            if self.processes.is_writer:
                self.folder.prune(settings.keep_checkpoints)
        if validate or periodic:
            self._save(self.folder.last)

    def _validate(self) -> None:
        progress = self.state.progress
        values = self.validator.measure(self.student, self.loss, progress.update)
        examples = values.pop("examples", [])
        value = self.processes.from_writer(values["explained_variance"])
        best = progress.judge(value, self.config.training.early_stopping.min_delta)
        record = head("validation", progress, self.plan) | values
        record["seconds"] = time.perf_counter() - self._began
        self._reporter.validation(record, best)
        if examples:
            self._reporter.note(head("examples", progress, self.plan) | {"examples": examples})
        # Before the first update a random start is collapsed by nature.
        found = find_warnings(values, self.config.model.dynamics.mode) if progress.update else []
        for warning in found:
            self._reporter.note(head("warning", progress, self.plan) | warning)
        if best:
            self._save(self.folder.best)

    def _save(self, path: Path) -> None:
        if self.processes.is_writer:
            self.state.progress.metrics_bytes = self._reporter.sync()
            self.state.save(path)

    def _is_logged(self, update: int) -> bool:
        return update % self.config.training.log_every == 0 or update == self.plan.total

    def _at_end(self) -> bool:
        return self.state.progress.update == self.plan.total

    def _result(self, reason: Reason, number: int | None) -> TrainingResult:
        progress = self.state.progress
        assert progress.best_value is not None, "every run validates before its first update"
        return TrainingResult(
            updates=progress.update,
            epochs=progress.epoch,
            reason=reason,
            best_explained_variance=progress.best_value,
            best_update=progress.best_update,
            samples_per_second=self._samples / self._spent if self._spent else 0.0,
            seconds=time.perf_counter() - self._began,
            signal=number,
            best_checkpoint=self.folder.best,
            last_checkpoint=self.folder.last,
        )
