"""The inference loop.

Legend: B batch, N samples, D teacher width.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latticegraph.dynamics import Intervention, Recorder
from latticegraph.errors import DataError
from latticegraph.model import Student


@dataclass(frozen=True)
class Prediction:
    """Predictions for some embeddings, and what they cost.

    Attributes:
        embedding_ND: predictions on the CPU, in the student's floating-point type.
        steps_used: mean number of lattice steps per sample.
        samples_per_second: throughput.
    """

    embedding_ND: Tensor
    steps_used: float
    samples_per_second: float


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context that runs matrix products in ``precision`` where that is not float32."""
    kind = torch.float16 if precision == "float16" else torch.bfloat16
    return torch.autocast(device.type, kind, enabled=precision != "float32")


def check_rows(name: str, rows_NW: Tensor, width: int, batch_size: int) -> None:
    """Refuse no rows, rows of another width, and batches of nothing.

    Args:
        name: what the rows are, for the message.
        rows_NW: embeddings or codes.
        width: W, of the model.
        batch_size: samples per forward pass.

    Shapes:
        rows_NW: [N, W].

    Raises:
        DataError: naming shape or batch size.
    """
    if rows_NW.ndim != 2 or rows_NW.shape[1] != width or not len(rows_NW):
        source = "embedded by the teacher" if name == "embeddings" else "encoded by this version"
        raise DataError(
            name,
            f"expected at least one row of width {width}, got shape {list(rows_NW.shape)}",
            f"Pass one row per sample, {source} of the model",
        )
    if batch_size < 1:
        raise DataError(
            "batch_size", f"expected at least 1 sample, got {batch_size}", "Choose for example 256"
        )


@torch.no_grad()
def run_student(
    student: Student,
    source_ND: Tensor,
    batch_size: int,
    precision: str,
    *,
    recorder: Recorder | None = None,
    interventions: Sequence[Intervention] = (),
) -> Prediction:
    """Run a student over embeddings in batches; it is left in evaluation mode.

    Args:
        student: on any device.
        source_ND: teacher embeddings, at least one row.
        batch_size: samples per forward pass, at least 1.
        precision: ``float32``, ``bfloat16`` or ``float16``, as ``training.precision``.
        recorder: called after every step of every batch, one batch after the other.
        interventions: changes of the dynamics.

    Shapes:
        source_ND: [N, D]; embedding_ND of the result: [N, D].

    Raises:
        DataError: for no rows, or rows of another width.
    """
    check_rows("embeddings", source_ND, student.teacher_dimension, batch_size)
    student.eval()
    device, dtype = student.std.device, student.std.dtype
    parts, steps = [], 0
    start = time.perf_counter()
    for source_BD in source_ND.split(batch_size):
        with autocast(device, precision):
            output = student(
                source_BD.to(device, dtype),
                recorder=recorder,
                interventions=interventions,
                whole=False,
            )
        parts.append(output.embedding_BD.to("cpu", dtype))
        steps += int(output.steps_B.sum())
    seconds = max(time.perf_counter() - start, 1e-9)
    return Prediction(torch.cat(parts), steps / len(source_ND), len(source_ND) / seconds)
