"""The main job: train a cube and report on held-out text."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from latticegraph.config import Config
from latticegraph.distributed import ALONE, Processes
from latticegraph.evaluation import write_report
from latticegraph.pipeline.final_report import make_report, training_summary
from latticegraph.pipeline.header import header_lines
from latticegraph.pipeline.prepare import Prepared, build_model, prepare
from latticegraph.pipeline.run_folder import FolderPlan, make_folder, plan_folder
from latticegraph.pipeline.without_lattice import control_checkpoint, train_control
from latticegraph.training import EmbeddingTrainer, TrainingResult, load_student
from latticegraph.training.checks import check_processes
from latticegraph.training.machine import resolve_device, training_session

_log = logging.getLogger(__name__)


def train(config: Config, resume: str = "false", processes: Processes = ALONE) -> dict[str, Any]:
    """Train the cube of ``config`` and write its run folder.

    The folder ``run.output_dir/run.name`` receives ``config.yaml``, ``metrics.jsonl``, TensorBoard
    events, ``checkpoints/`` and, at the end, ``report.json`` and ``report.md``. What is wrong with
    settings, text or teacher is found before the folder is made.

    Args:
        config: the whole configuration.
        resume: ``false``, ``true``, ``auto`` or the path of a checkpoint; see
            :func:`~latticegraph.pipeline.run_folder.plan_folder`.
        processes: of the run. They train together; the writer makes the files and the report. All
            must see the same files.

    Returns:
        ``run_dir``, ``reason`` (``finished``, ``early`` or ``interrupted``), ``signal`` (the number
        of the signal that interrupted, else None), ``updates``, and ``report`` (None after an
        interruption, and in every process but the writer).

    Raises:
        LatticeGraphError: a setting, the text, the teacher, a checkpoint or the disk is at fault.
    """
    check_processes(config, processes)
    device = resolve_device(config.run, processes)
    with training_session(config.run, device, config.model.init.reproducible):
        plan = plan_folder(config, resume) if processes.is_writer else None
        graph, student = build_model(config, device, processes)
        header = header_lines(config, student, graph, device)
        for line in header if processes.is_writer else ():
            _log.info(line)
        prepared = prepare(config, device, processes)
        config, run_dir, checkpoint = _folder(config, plan, processes)
        trainer = EmbeddingTrainer(
            config,
            student,
            graph,
            prepared.train,
            prepared.validation,
            run_dir,
            cache_hit_rate=prepared.hit_rate,
            validation_texts=[sample.target for sample in prepared.splits.validation],
            processes=processes,
        )
        result = trainer.fit(resume_from=checkpoint)
        if result.reason == "interrupted":
            return _outcome(run_dir, result, result, None)
        control = train_control(prepared, run_dir, processes)
        if control.reason == "interrupted":
            return _outcome(run_dir, control, result, None)
        report = _report(prepared, result, control, run_dir) if processes.is_writer else None
    return _outcome(run_dir, result, result, report)


def _folder(
    config: Config, plan: FolderPlan | None, processes: Processes
) -> tuple[Config, Path, Path | None]:
    """Let the writer make the folder; the configuration with its name, and what to resume from."""
    found: list[str | None] = []
    if plan is not None:
        config, run_dir = make_folder(config, plan)
        found = [str(run_dir), None if plan.checkpoint is None else str(plan.checkpoint)]
    folder, checkpoint = processes.from_writer(found)
    assert folder is not None, "the writer names a folder"
    run = config.run.model_copy(update={"name": Path(folder).name})
    named = config.model_copy(update={"run": run})
    return named, Path(folder), None if checkpoint is None else Path(checkpoint)


def _report(
    prepared: Prepared, result: TrainingResult, control: TrainingResult, run_dir: Path
) -> dict[str, Any]:
    """Measure the best checkpoint, not the last state, and write both files."""
    _log.info("report: measuring on held-out text beside the baselines")
    _, student, graph = load_student(result.best_checkpoint)
    _, retrained, _ = load_student(control_checkpoint(run_dir))
    device = prepared.device
    report = make_report(prepared, student.to(device), graph, retrained.to(device))
    report |= {"run": run_dir.name, "training": training_summary(result, control)}
    write_report(run_dir, report)
    return report


def _outcome(
    run_dir: Path, last: TrainingResult, result: TrainingResult, report: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "run_dir": str(run_dir),
        "reason": last.reason,
        "signal": last.signal,
        "updates": result.updates,
        "report": report,
    }
