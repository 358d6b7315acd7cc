"""Training alone: a run folder with checkpoints and the best model, without a report."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from latticegraph.config import Config
from latticegraph.decoding import Decoder
from latticegraph.distributed import ALONE, Processes
from latticegraph.early import check_paths
from latticegraph.evaluation import report_metrics
from latticegraph.hub import LatticeModel
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Student
from latticegraph.pipeline.header import header_lines
from latticegraph.pipeline.live_dashboard import LiveDashboard
from latticegraph.pipeline.prepare import Prepared, build_model, prepare
from latticegraph.pipeline.run_folder import FolderPlan, make_folder, plan_folder
from latticegraph.plugins import class_paths
from latticegraph.run_lock import RunLock
from latticegraph.terminal import show_log_by_default
from latticegraph.training import EmbeddingTrainer, TrainingResult, load_checkpoint_model
from latticegraph.training.checks import check_processes
from latticegraph.training.machine import resolve_device, training_session

_log = logging.getLogger(__name__)

MODEL_FOLDER = "model"


@dataclass(frozen=True)
class FittedRun:
    """A run after training.

    Attributes:
        prepared: configuration, device, text and embeddings.
        folder: of the run.
        result: how training ended.
        processes: that trained together.
    """

    prepared: Prepared
    folder: Path
    result: TrainingResult
    processes: Processes = ALONE

    @property
    def config(self) -> Config:
        """The whole configuration, with ``run.name`` as it turned out."""
        return self.prepared.config

    def best_model(self) -> LatticeModel:
        """The model of the best checkpoint, on the device of the run.

        Raises:
            CheckpointError: when the checkpoint is gone or damaged.
        """
        trust = class_paths(self.config.model_dump(mode="json"))
        return load_checkpoint_model(self.result.best_checkpoint, trust, self.prepared.device)


def fit(
    config: Config,
    resume: str = "false",
    processes: Processes = ALONE,
    prepared: Prepared | None = None,
    lock: RunLock | None = None,
) -> FittedRun:
    """Train the cube of ``config``, without a report and its baselines.

    The folder ``run.output_dir/run.name`` receives ``config.yaml``, ``metrics.jsonl``,
    ``dashboard.html``, TensorBoard events, ``checkpoints/`` and, unless interrupted, the best model
    in ``model/``. What is wrong with settings, text or teacher is found before the folder is made.

    Args:
        config: the whole configuration.
        resume: ``false``, ``true``, ``auto`` or the path of a checkpoint; see
            :func:`~latticegraph.pipeline.run_folder.plan_folder`.
        processes: of the run. They train together; the writer makes the files. All must see the
            same files.
        prepared: text and embeddings of ``config``, where they are at hand; None reads them.
        lock: keeps the folder for longer than this call; None: no longer.

    Raises:
        LatticeGraphError: a setting, the text, the teacher, a checkpoint or the disk is at fault,
            or another process works in the folder.
    """
    show_log_by_default()
    check_processes(config, processes)
    report_metrics(config.data.task, config.evaluation.metrics)
    device = resolve_device(config.run, processes)
    with ExitStack() as stack:
        stack.enter_context(training_session(config.run, device, config.model.init.reproducible))
        lock = stack.enter_context(RunLock()) if lock is None else lock
        plan = _plan(config, resume, lock) if processes.is_writer else None
        graph, student = build_model(config, device, processes)
        header = header_lines(config, student, graph, device)
        for line in header if processes.is_writer else ():
            _log.info(line)
        prepared = prepared or prepare(config, device, processes)
        writer = _writer(config, prepared) if processes.is_writer else None
        config, run_dir, checkpoint = _folder(config, plan, processes, lock)
        trainer = _trainer(config, student, graph, prepared, run_dir, processes)
        trainer.validator.show_written(writer)
        result = trainer.fit(resume_from=checkpoint)
        run = FittedRun(prepared, run_dir, result, processes)
        if result.reason != "interrupted" and processes.is_writer:
            run.best_model().save_pretrained(run_dir / MODEL_FOLDER)
    return run


def _trainer(
    config: Config,
    student: Student,
    graph: LatticeGraph,
    prepared: Prepared,
    run_dir: Path,
    processes: Processes,
) -> EmbeddingTrainer:
    return EmbeddingTrainer(
        config,
        student,
        graph,
        prepared.train,
        prepared.validation,
        run_dir,
        cache_hit_rate=prepared.hit_rate,
        validation_texts=[sample.target for sample in prepared.splits.validation],
        processes=processes,
        callbacks=[LiveDashboard(config.report.dashboard_every)],
        teacher=prepared.identity,
        texts=prepared.texts,
    )


def _plan(config: Config, resume: str, lock: RunLock) -> FolderPlan:
    plan = plan_folder(config, resume, lock)
    check_paths(config)
    return plan


def _writer(config: Config, prepared: Prepared) -> Decoder | None:
    """The decoder that validations show texts of; greedy, so that it costs little."""
    if config.evaluation.decoder is None:
        return None
    from latticegraph.decoding.open_folder import open_decoder

    folder, teacher = Path(config.evaluation.decoder).expanduser(), prepared.cache.teacher
    return open_decoder(folder, teacher.name, teacher.fingerprint, teacher.encode, method="greedy")


def _folder(
    config: Config, plan: FolderPlan | None, processes: Processes, lock: RunLock
) -> tuple[Config, Path, Path | None]:
    """Let the writer make the folder; the configuration with its name, and what to resume from."""
    found: list[str | None] = []
    if plan is not None:
        config, run_dir, previous = make_folder(config, plan, lock)
        found = [str(run_dir), None if previous is None else str(previous)]
    folder, checkpoint = processes.from_writer(found)
    assert folder is not None, "the writer names a folder"
    run = config.run.model_copy(update={"name": Path(folder).name})
    named = config.model_copy(update={"run": run})
    return named, Path(folder), None if checkpoint is None else Path(checkpoint)
