"""The report of a trained student: its metrics beside every control and baseline.

Legend: B batch, N samples, D teacher width.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latticegraph.config import EvaluationSettings
from latticegraph.data import Sample
from latticegraph.decoding import TextDecoder
from latticegraph.dynamics import Identity
from latticegraph.evaluation import EmbeddingPairs as Arrays
from latticegraph.evaluation import build_report, fit_baselines, task_metrics
from latticegraph.lattice import LatticeGraph, count_edges
from latticegraph.model import Student
from latticegraph.pipeline.prepare import Prepared, text_fingerprint
from latticegraph.training import EmbeddingPairs, TrainingResult
from latticegraph.training.update import autocast


@dataclass(frozen=True)
class Prediction:
    """What a student said about some embeddings.

    Attributes:
        embedding_ND: predictions, float32 on the CPU.
        steps_used: mean number of lattice steps per sample.
        samples_per_second: throughput of the forward pass.
    """

    embedding_ND: Tensor
    steps_used: float
    samples_per_second: float


@torch.no_grad()
def predict(
    student: Student, source_ND: Tensor, batch_size: int, precision: str = "float32"
) -> Prediction:
    """Run a student over embeddings in batches; it is left in evaluation mode.

    Args:
        student: on any device.
        source_ND: embeddings that go in.
        batch_size: samples per forward pass.
        precision: ``float32`` or ``bfloat16``, as in training.

    Shapes:
        source_ND: [N, D] -> embedding_ND [N, D]
    """
    student.eval()
    device = student.std.device
    parts, steps = [], 0
    student(source_ND[:1].to(device))  # what the first call alone costs is no throughput
    start = time.perf_counter()
    for source_BD in source_ND.split(batch_size):
        with autocast(device, precision):
            output = student(source_BD.to(device))
        parts.append(output.embedding_BD.float().cpu())
        steps += int(output.steps_B.sum())
    seconds = max(time.perf_counter() - start, 1e-9)
    return Prediction(torch.cat(parts), steps / len(source_ND), len(source_ND) / seconds)


def lattice_off(student: Student, graph: LatticeGraph) -> Student:
    """A copy of ``student`` whose dynamics leave every state as it is.

    Args:
        student: trained; stays as it is.
        graph: its lattice.
    """
    dynamics = student.dynamics
    return student.with_dynamics(Identity(dynamics.names, dynamics.cells, dynamics.backend))


def make_report(
    prepared: Prepared, student: Student, graph: LatticeGraph, retrained: Student
) -> dict[str, Any]:
    """Measure everything on ``prepared.heldout``; baselines are fitted on ``prepared.train``.

    Args:
        prepared: text and embeddings; its held-out part is what is measured.
        student: trained, on its device.
        graph: its lattice.
        retrained: the control that was trained without a lattice.

    Raises:
        DataError: when a metric is no finite number.
    """
    config, heldout = prepared.config, prepared.heldout
    settings, task = config.evaluation, config.data.task
    mean_D = prepared.train_mean_D

    def measure(model: Student) -> tuple[Prediction, dict[str, float]]:
        precision = config.training.precision
        made = predict(model, heldout.source_ND, settings.batch_size, precision)
        return made, task_metrics(made.embedding_ND, heldout.target_ND, mean_D, task)

    prediction, metrics = measure(student)
    baselines = fit_baselines(
        _arrays(prepared.train),
        _arrays(prepared.validation),
        _arrays(heldout),
        student.surface_width,
        settings,
        seed=config.run.seed,
        task=task,
    )
    report = build_report(
        task=task,
        student=metrics,
        lattice_off=measure(lattice_off(student, graph))[1],
        lattice_off_retrained=measure(retrained)[1],
        baselines=baselines,
        throughput=prediction.samples_per_second,
        parameters=sum(parameter.numel() for parameter in student.parameters()),
        steps_used=prediction.steps_used,
        edges=count_edges(graph.settings),
        cache_hit_rate=prepared.hit_rate,
        examples=_examples(prepared, prediction.embedding_ND, settings),
    )
    return report | {"run": config.run.name, "teacher": _teacher(prepared), "data": _data(prepared)}


def training_summary(result: TrainingResult, control: TrainingResult) -> dict[str, Any]:
    """How long student and control were trained, as JSON values."""
    summary = {k: v for k, v in asdict(result).items() if not k.endswith("_checkpoint")}
    return summary | {"control_updates": control.updates, "control_seconds": control.seconds}


def _arrays(pairs: EmbeddingPairs) -> Arrays:
    return Arrays(pairs.source_ND, pairs.target_ND)


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


def _examples(
    prepared: Prepared, prediction_ND: Tensor, settings: EvaluationSettings
) -> list[dict[str, Any]]:
    """Held-out samples from all over the split, each with the nearest of all known sentences."""
    held: Sequence[Sample] = prepared.splits.heldout
    count = min(settings.decoded_examples, len(held))
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
