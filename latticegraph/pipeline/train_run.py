"""The main job: train a cube and report on held-out text."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from latticegraph.config import Config
from latticegraph.evaluation import write_report
from latticegraph.pipeline.final_report import make_report, training_summary
from latticegraph.pipeline.prepare import Prepared, build_model, prepare
from latticegraph.pipeline.run_folder import make_folder, plan_folder
from latticegraph.pipeline.without_lattice import control_checkpoint, train_control
from latticegraph.training import EmbeddingTrainer, TrainingResult, load_student
from latticegraph.training.machine import resolve_device, training_session

_log = logging.getLogger(__name__)


def train(config: Config, resume: str = "false") -> dict[str, Any]:
    """Train the cube of ``config`` and write its run folder.

    The folder ``run.output_dir/run.name`` receives ``config.yaml``, ``metrics.jsonl``, TensorBoard
    events, ``checkpoints/`` and, at the end, ``report.json`` and ``report.md``. What is wrong with
    settings, text or teacher is found before the folder is made.

    Args:
        config: the whole configuration.
        resume: ``false``, ``true``, ``auto`` or the path of a checkpoint; see
            :func:`~latticegraph.pipeline.run_folder.plan_folder`.

    Returns:
        ``run_dir``, ``reason`` (``finished``, ``early`` or ``interrupted``), ``signal`` (the number
        of the signal that interrupted, else None), ``updates``, and ``report`` (None after an
        interruption).

    Raises:
        LatticeGraphError: a setting, the text, the teacher, a checkpoint or the disk is at fault.
    """
    device = resolve_device(config.run)
    with training_session(config.run, device, config.model.init.reproducible):
        plan = plan_folder(config, resume)
        graph, student = build_model(config, device)
        prepared = prepare(config, device)
        config, run_dir = make_folder(config, plan)
        trainer = EmbeddingTrainer(
            config,
            student,
            graph,
            prepared.train,
            prepared.validation,
            run_dir,
            cache_hit_rate=prepared.hit_rate,
            validation_texts=[sample.target for sample in prepared.splits.validation],
        )
        result = trainer.fit(resume_from=plan.checkpoint)
        if result.reason == "interrupted":
            return _outcome(run_dir, result, result, None)
        control = train_control(prepared, run_dir)
        if control.reason == "interrupted":
            return _outcome(run_dir, control, result, None)
        report = _report(prepared, result, control, run_dir)
    return _outcome(run_dir, result, result, report)


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
