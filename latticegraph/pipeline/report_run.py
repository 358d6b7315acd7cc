"""The report of a trained model: its metrics beside every control and baseline."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from latticegraph.config import Config
from latticegraph.evaluation import (
    Baseline,
    EmbeddingSplit,
    build_report,
    fit_all,
    new_baselines,
    report_metrics,
    write_report,
)
from latticegraph.evaluation.arrays import Floats
from latticegraph.hub import LatticeModel
from latticegraph.lattice import count_edges
from latticegraph.pipeline.attribution import attribution_rows, train_frozen
from latticegraph.pipeline.curves import read_curves
from latticegraph.pipeline.decoded import decoded_examples
from latticegraph.pipeline.expert_roles import expert_roles
from latticegraph.pipeline.fit_run import MODEL_FOLDER, FittedRun
from latticegraph.pipeline.kept_rows import KeptRows
from latticegraph.pipeline.model_row import ModelRow
from latticegraph.pipeline.prepare import Prepared, text_fingerprint
from latticegraph.pipeline.without_lattice import control_checkpoint, switched_off, train_control
from latticegraph.plugins import class_paths
from latticegraph.run_lock import RunLock
from latticegraph.terminal import command as typed
from latticegraph.training import TrainingResult, load_checkpoint_model
from latticegraph.training.machine import training_session

_log = logging.getLogger(__name__)

NOT_KEPT = KeptRows()


@dataclass(frozen=True)
class SideRuns:
    """How the trainings beside a run ended.

    Attributes:
        control: the same model without a lattice.
        frozen: the same model with a frozen lattice; None where the report does not need it, or
            the control was interrupted.
    """

    control: TrainingResult
    frozen: TrainingResult | None = None

    @property
    def interrupted(self) -> TrainingResult | None:
        """The one that a signal stopped."""
        ended = (self.control, self.frozen)
        return next((one for one in ended if one and one.reason == "interrupted"), None)


def train_side_runs(run: FittedRun) -> SideRuns:
    """Train what the report compares with; nothing more after an interruption.

    Args:
        run: of :func:`~latticegraph.pipeline.fit_run.fit`, not interrupted.

    Raises:
        TrainingError: when a loss is no longer finite.
    """
    control = train_control(run)
    return SideRuns(control, None if control.reason == "interrupted" else train_frozen(run))


def report(run: FittedRun) -> dict[str, Any] | None:
    """Train the controls, fit the baselines, measure all on held-out text and write the report.

    Writes ``report.json``, ``report.md``, ``report.html`` and ``charts/``, and the results into the
    card of the saved model.

    Args:
        run: of :func:`~latticegraph.pipeline.fit_run.fit`, not interrupted.

    Returns:
        The report; None when a signal interrupted a control, and in every process but the writer.

    Raises:
        LatticeGraphError: a metric is no finite number, the disk refuses, or another process works
            in the folder.
    """
    with RunLock() as lock:
        if run.processes.is_writer:
            lock.take(run.folder)
        return write_run_report(run, train_side_runs(run))


def write_run_report(
    run: FittedRun, side: SideRuns, command: str | None = None
) -> dict[str, Any] | None:
    """The second half of :func:`report`.

    Args:
        run: of :func:`~latticegraph.pipeline.fit_run.fit`.
        side: of :func:`train_side_runs`.
        command: that started the run; None names the one that repeats it.
    """
    if side.interrupted or not run.processes.is_writer:
        return None
    _log.info("report: measuring on held-out text beside the baselines")
    config, device = run.config, run.prepared.device
    with training_session(config.run, device, config.model.init.reproducible):
        model = run.best_model()
        trust = class_paths(config.model_dump(mode="json"))
        retrained = load_checkpoint_model(control_checkpoint(run.folder), trust, device)
        frozen = None
        if side.frozen is not None:
            frozen = load_checkpoint_model(side.frozen.best_checkpoint, trust, device)
        kept = KeptRows(run.folder, write=True)
        made = make_report(run.prepared, model, retrained, frozen, kept=kept)
    made |= {
        "run": run.folder.name,
        "training": _training_summary(run.result, side),
        "curves": read_curves(run.folder),
        "command": command or typed("train", "--config", str(run.folder / "config.yaml")),
    }
    write_report(run.folder, made)
    model.write_card(run.folder / MODEL_FOLDER, made["student"])
    return made


def make_baselines(
    prepared: Prepared, bottleneck: int, kept: KeptRows = NOT_KEPT
) -> list[Baseline]:
    """The baselines of the report, fitted on ``prepared.train``.

    Args:
        prepared: text and embeddings.
        bottleneck: S, numbers per sample.
        kept: of the run; rows that it has are not fitted again.
    """
    config, (train, validation, _) = prepared.config, _splits(prepared)
    baselines = new_baselines(
        bottleneck, config.evaluation, seed=config.run.seed, task=config.data.task
    )
    kept.fill(
        "baselines", baselines, prepared, bottleneck, lambda: fit_all(baselines, train, validation)
    )
    return baselines


def make_report(
    prepared: Prepared,
    model: LatticeModel,
    retrained: LatticeModel,
    frozen: LatticeModel | None = None,
    baselines: Sequence[Baseline] | None = None,
    kept: KeptRows = NOT_KEPT,
) -> dict[str, Any]:
    """Measure everything on ``prepared.heldout``; baselines are fitted on ``prepared.train``.

    Args:
        prepared: text and embeddings; its held-out part is what is measured.
        model: trained, on its device.
        retrained: the control that was trained without a lattice.
        frozen: the same model with a frozen lattice, where ``report.attribution`` is full.
        baselines: of :func:`make_baselines`; None makes them.
        kept: fitted rows of the run.

    Raises:
        DataError: when a metric is no finite number.
    """
    config = prepared.config
    settings, task = config.evaluation, config.data.task
    how = (settings.batch_size, config.training.precision)
    student = ModelRow("student", "student (the cube)", model, *how)
    off = ModelRow("lattice_off", "lattice switched off", switched_off(model), *how)
    wire = ModelRow("lattice_off_retrained", "retrained without lattice", retrained, *how)
    if baselines is None:
        baselines = make_baselines(prepared, model.student.surface_width, kept)
    train, validation, heldout = _splits(prepared)
    groups = [sample.group for sample in prepared.splits.heldout]
    train_mean_D = train.target_ND.mean(axis=0)
    made = build_report(
        task=task,
        models=(student, off, wire),
        baselines=baselines,
        metrics=report_metrics(task, settings.metrics),
        heldout=heldout,
        groups=groups,
        train_mean_D=train_mean_D,
        attribution=attribution_rows(prepared, model, frozen, train, validation, kept),
    )
    prediction = student.prediction
    return made | {
        "roles": _roles(config, model, heldout, groups, train_mean_D),
        **_model(model),
        "throughput": prediction.samples_per_second,
        "steps_used": prediction.steps_used,
        "cache_hit_rate": prepared.hit_rate,
        "examples": decoded_examples(prepared, prediction.embedding_ND),
        "run": config.run.name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "teacher": _teacher(prepared),
        "data": _data(prepared),
    }


def _roles(
    config: Config,
    model: LatticeModel,
    heldout: EmbeddingSplit,
    groups: Sequence[str],
    train_mean_D: Floats,
) -> dict[str, Any]:
    """Gates and lesions; nothing without attribution or a lattice."""
    if config.report.attribution == "none" or config.model.dynamics.mode != "lattice":
        return {}
    batch, precision = config.evaluation.batch_size, config.training.precision
    return expert_roles(model, heldout, groups, train_mean_D, batch_size=batch, precision=precision)


def _splits(prepared: Prepared) -> tuple[EmbeddingSplit, EmbeddingSplit, EmbeddingSplit]:
    train, validation, heldout = (
        EmbeddingSplit.of(name, pairs.source_ND, pairs.target_ND)
        for name, pairs in (
            ("train", prepared.train),
            ("validation", prepared.validation),
            ("heldout", prepared.heldout),
        )
    )
    return train, validation, heldout


def _training_summary(result: TrainingResult, side: SideRuns) -> dict[str, Any]:
    """How long the student and the models beside it were trained, as JSON values."""
    summary = {k: v for k, v in asdict(result).items() if not k.endswith("_checkpoint")}
    for name, ended in (("control", side.control), ("frozen", side.frozen)):
        if ended is not None:
            summary |= {f"{name}_updates": ended.updates, f"{name}_seconds": ended.seconds}
    return summary


def _model(model: LatticeModel) -> dict[str, Any]:
    inside = sum(parameter.numel() for parameter in model.student.dynamics.parameters())
    return {
        "parameters": model.parameters,
        "lattice_parameters": inside,
        "edges": count_edges(model.graph.settings),
    }


def _teacher(prepared: Prepared) -> dict[str, Any]:
    teacher = prepared.cache.teacher
    return {
        "name": teacher.name,
        "dimension": teacher.dimension,
        "fingerprint": teacher.fingerprint,
    }


def _data(prepared: Prepared) -> dict[str, Any]:
    splits = prepared.splits
    return {
        "train": len(splits.train),
        "validation": len(splits.validation),
        "heldout": len(splits.heldout),
        "dropped": splits.dropped,
        "fingerprint": text_fingerprint(splits),
    }
