"""Everything a training run needs, tried once, without a run folder.

Legend: B batch, D teacher width.
"""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from latticegraph.config import Config
from latticegraph.early import check_paths
from latticegraph.errors import TrainingError
from latticegraph.hub import autocast
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Student
from latticegraph.pipeline.header import header_lines
from latticegraph.pipeline.prepare import build_model, load_text
from latticegraph.teachers import build_teacher
from latticegraph.training import EmbeddingPairs, training_objective
from latticegraph.training.machine import resolve_device, training_session


def dry_run(config: Config) -> dict[str, Any]:
    """Build and check everything, then do one forward and backward pass at the batch size.

    The graph and the student are built, the text is read, the teacher loaded. Nothing is written,
    not even the embedding cache.

    Args:
        config: the whole configuration.

    Returns:
        ``device``, ``header`` (lines that a run prints first), ``cells``, ``edges``,
        ``parameters``, ``train``, ``validation``, ``heldout``, ``texts`` (different ones),
        ``teacher_seconds`` that embedding all of them would take (None: not known), ``loss`` and
        ``seconds`` of the pass.

    Raises:
        LatticeGraphError: whatever would stop the run, except for what only its later texts or
            updates show.
    """
    check_paths(config)
    device = resolve_device(config.run)
    with training_session(config.run, device, config.model.init.reproducible):
        graph, student = build_model(config, device)
        header = header_lines(config, student, graph, device)
        splits = load_text(config, cached=False)
        teacher = build_teacher(config.teacher, device.type)
        texts = sorted(splits.texts())
        teacher_seconds = teacher.expected_seconds(texts)
        batch = splits.train[: config.training.batch_size]
        source_BD = torch.from_numpy(teacher.encode([sample.source for sample in batch]))
        target_BD = torch.from_numpy(teacher.encode([sample.target for sample in batch]))
        loss, seconds = _pass(config, graph, student, source_BD, target_BD)
    return {
        "device": str(device),
        "header": header,
        "cells": graph.num_cells,
        "edges": graph.num_edges,
        "parameters": sum(parameter.numel() for parameter in student.parameters()),
        "train": len(splits.train),
        "validation": len(splits.validation),
        "heldout": len(splits.heldout),
        "texts": len(texts),
        "teacher_seconds": teacher_seconds,
        "loss": loss,
        "seconds": seconds,
    }


def _pass(
    config: Config, graph: LatticeGraph, student: Student, source_BD: Tensor, target_BD: Tensor
) -> tuple[float, float]:
    """The loss of one batch, and the seconds of its forward and backward pass.

    Raises:
        TrainingError: when the loss is not finite.
    """
    pairs, device = EmbeddingPairs(source_BD, target_BD), student.std.device
    source_BD, target_BD = source_BD.to(device), target_BD.to(device)
    student.start_from_data(source_BD, target_BD)
    objective = training_objective(config, graph, student, pairs).to(device)
    start = time.perf_counter()
    with autocast(device, config.training.precision):
        total, _ = objective(student(source_BD), target_BD)
    total.backward()
    seconds = time.perf_counter() - start
    loss = float(total.detach())
    if not math.isfinite(loss):
        raise TrainingError(
            "losses", f"expected a finite loss, got {loss}", "Lower the weights or model.init.gain"
        )
    return loss, seconds
