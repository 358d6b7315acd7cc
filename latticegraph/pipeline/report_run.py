"""The report of a trained model: its metrics beside every control and baseline.

Legend: N samples, D teacher width.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latticegraph.data import Sample
from latticegraph.decoding import TextDecoder
from latticegraph.evaluation import (
    Baseline,
    EmbeddingSplit,
    build_report,
    fit_baselines,
    report_metrics,
    write_report,
)
from latticegraph.evaluation.arrays import as_float64
from latticegraph.hub import LatticeModel
from latticegraph.lattice import count_edges
from latticegraph.pipeline.fit_run import MODEL_FOLDER, FittedRun
from latticegraph.pipeline.model_row import ModelRow
from latticegraph.pipeline.prepare import Prepared, text_fingerprint
from latticegraph.pipeline.without_lattice import control_checkpoint, switched_off, train_control
from latticegraph.plugins import class_paths
from latticegraph.training import TrainingResult, load_checkpoint_model
from latticegraph.training.machine import training_session

_log = logging.getLogger(__name__)


def report(run: FittedRun) -> dict[str, Any] | None:
    """Train the control, fit the baselines, measure all on held-out text and write the report.

    Writes ``report.json`` and ``report.md``, and the results into the card of the saved model.

    Args:
        run: of :func:`~latticegraph.pipeline.fit_run.fit`, not interrupted.

    Returns:
        The report; None when a signal interrupted the control, and in every process but the writer.

    Raises:
        LatticeGraphError: a metric is no finite number, or the disk refuses.
    """
    return write_run_report(run, train_control(run))


def write_run_report(run: FittedRun, control: TrainingResult) -> dict[str, Any] | None:
    """The second half of :func:`report`.

    Args:
        run: of :func:`~latticegraph.pipeline.fit_run.fit`.
        control: how the training of the control ended.
    """
    if control.reason == "interrupted" or not run.processes.is_writer:
        return None
    _log.info("report: measuring on held-out text beside the baselines")
    config, device = run.config, run.prepared.device
    with training_session(config.run, device, config.model.init.reproducible):
        model = run.best_model()
        trust = class_paths(config.model_dump(mode="json"))
        retrained = load_checkpoint_model(control_checkpoint(run.folder), trust).to(device)
        made = make_report(run.prepared, model, retrained)
    made |= {"run": run.folder.name, "training": _training_summary(run.result, control)}
    write_report(run.folder, made)
    model.write_card(run.folder / MODEL_FOLDER, made["student"])
    return made


def make_baselines(prepared: Prepared, bottleneck: int) -> list[Baseline]:
    """Fit the baselines of the report on ``prepared.train``.

    Args:
        prepared: text and embeddings.
        bottleneck: S, numbers per sample.
    """
    config = prepared.config
    train, validation = (
        EmbeddingSplit.of(name, pairs.source_ND, pairs.target_ND)
        for name, pairs in (("train", prepared.train), ("validation", prepared.validation))
    )
    return fit_baselines(
        train,
        validation,
        bottleneck,
        config.evaluation,
        seed=config.run.seed,
        task=config.data.task,
    )


def make_report(
    prepared: Prepared,
    model: LatticeModel,
    retrained: LatticeModel,
    baselines: Sequence[Baseline] | None = None,
) -> dict[str, Any]:
    """Measure everything on ``prepared.heldout``; baselines are fitted on ``prepared.train``.

    Args:
        prepared: text and embeddings; its held-out part is what is measured.
        model: trained, on its device.
        retrained: the control that was trained without a lattice.
        baselines: of :func:`make_baselines`; None fits them.

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
        baselines = make_baselines(prepared, model.student.surface_width)
    pairs = prepared.heldout
    made = build_report(
        task=task,
        models=(student, off, wire),
        baselines=baselines,
        metrics=report_metrics(task, settings.metrics),
        heldout=EmbeddingSplit.of("heldout", pairs.source_ND, pairs.target_ND),
        train_mean_D=as_float64("train.target", prepared.train.target_ND).mean(axis=0),
    )
    prediction = student.prediction
    return made | {
        "throughput": prediction.samples_per_second,
        "parameters": model.parameters,
        "steps_used": prediction.steps_used,
        "edges": count_edges(model.graph.settings),
        "cache_hit_rate": prepared.hit_rate,
        "examples": _examples(prepared, prediction.embedding_ND),
        "run": config.run.name,
        "teacher": _teacher(prepared),
        "data": _data(prepared),
    }


def _training_summary(result: TrainingResult, control: TrainingResult) -> dict[str, Any]:
    """How long student and control were trained, as JSON values."""
    summary = {k: v for k, v in asdict(result).items() if not k.endswith("_checkpoint")}
    return summary | {"control_updates": control.updates, "control_seconds": control.seconds}


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


def _examples(prepared: Prepared, prediction_ND: Tensor) -> list[dict[str, Any]]:
    """Held-out samples from all over the split, each with the nearest of all known sentences."""
    held: Sequence[Sample] = prepared.splits.heldout
    count = min(prepared.config.evaluation.decoded_examples, len(held))
    if not count:
        return []
    chosen = np.linspace(0, len(held) - 1, count).round().astype(int).tolist()
    texts = [sample.target for sample in (*held, *prepared.splits.train)]
    known_ND = torch.cat([prepared.heldout.target_ND, prepared.train.target_ND])
    nearest = TextDecoder(texts, known_ND).decode(prediction_ND[chosen])
    return [
        {
            "source": held[index].source,
            "target": held[index].target,
            "decoded": best.text,
            "cosine": best.cosine,
        }
        for index, (best, *_) in zip(chosen, nearest, strict=True)
    ]
