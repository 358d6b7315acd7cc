"""The inference loop.

Legend: B batch, N samples, D teacher width.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

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


@torch.no_grad()
def run_student(student: Student, source_ND: Tensor, batch_size: int, precision: str) -> Prediction:
    """Run a student over embeddings in batches; it is left in evaluation mode.

    Args:
        student: on any device.
        source_ND: teacher embeddings, at least one row.
        batch_size: samples per forward pass, at least 1.
        precision: ``float32``, ``bfloat16`` or ``float16``, as ``training.precision``.

    Shapes:
        source_ND: [N, D]; embedding_ND of the result: [N, D].

    Raises:
        DataError: for no rows, or rows of another width.
    """
    width = student.teacher_dimension
    if source_ND.ndim != 2 or source_ND.shape[1] != width or not len(source_ND):
        raise DataError(
            "embeddings",
            f"expected at least one row of width {width}, got shape {list(source_ND.shape)}",
            "Pass one row per sample, embedded by the teacher of the model",
        )
    if batch_size < 1:
        raise DataError(
            "batch_size", f"expected at least 1 sample, got {batch_size}", "Choose for example 256"
        )
    student.eval()
    device, dtype = student.std.device, student.std.dtype
    parts, steps = [], 0
    start = time.perf_counter()
    for source_BD in source_ND.split(batch_size):
        with autocast(device, precision):
            output = student(source_BD.to(device, dtype))
        parts.append(output.embedding_BD.to("cpu", dtype))
        steps += int(output.steps_B.sum())
    seconds = max(time.perf_counter() - start, 1e-9)
    return Prediction(torch.cat(parts), steps / len(source_ND), len(source_ND) / seconds)
