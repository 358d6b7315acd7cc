"""What the worker thread computes: a mixed batch of texts, teacher embeddings and codes.

Legend: N rows, D teacher width, S surface width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latticegraph.decoding import Decoder, ScoredText
from latticegraph.errors import DataError
from latticegraph.hub import LatticeModel

Floats = NDArray[np.float32]
Output = Literal["teacher", "code", "embedding"]

ROWS = 16
"""Rows of every pass of the student; the last pass is filled up with repeated rows."""


@dataclass(frozen=True, eq=False)
class Job:
    """One item of a request.

    Args:
        source: a text, a teacher embedding [D], or a code [S].
        kind: which of them it is.
        outputs: what is wanted of it; of a code the embedding alone.
        nearest: number of texts of the decoder wanted beside the embedding.
    """

    source: str | Floats
    kind: Literal["text", "embedding", "code"] = "text"
    outputs: frozenset[Output] = frozenset({"embedding"})
    nearest: int = 0


@dataclass(eq=False)
class Vectors:
    """What came out of a job; each array is there where it was wanted.

    Shapes:
        arrays: ``teacher`` [D], ``code`` [S], ``embedding`` [D].
    """

    arrays: dict[Output, Floats] = field(default_factory=dict)
    nearest: list[ScoredText] = field(default_factory=list)


class Engine:
    """Computes jobs with a saved model, always in passes of the same shape.

    A row depends neither on the jobs it is computed with nor on its place among them, bit for bit:
    the teacher's passes have a fixed shape, and so have the student's here.

    Args:
        model: loaded, with its teacher.
        bank: gives texts with cosines; None: no text is ever decoded.
    """

    def __init__(self, model: LatticeModel, bank: Decoder | None = None) -> None:
        self.model, self.bank = model, bank

    def warm_up(self) -> None:
        """Load what the first job would load, and run every kind of pass once."""
        self.model.teacher.load()
        student = self.model.student
        zeros_D = np.zeros(student.teacher_dimension, np.float32)
        zeros_S = np.zeros(student.surface_width, np.float32)
        both: frozenset[Output] = frozenset({"code", "embedding"})
        self.run([Job(zeros_D, "embedding", both), Job(zeros_S, "code")])

    def run(self, jobs: Sequence[Job]) -> list[Vectors | Exception]:
        """One result per job, or the reason why that job alone has none.

        Args:
            jobs: any number of any kinds.

        Raises:
            TeacherError: a text cannot be embedded.
        """
        made = [Vectors() for _ in jobs]
        texts = [i for i, job in enumerate(jobs) if job.kind == "text"]
        if texts:
            teacher_ND = self.model.teacher.encode([str(jobs[i].source) for i in texts])
            for i, row_D in zip(texts, teacher_ND, strict=True):
                made[i].arrays["teacher"] = row_D
        for i, job in enumerate(jobs):
            if job.kind == "embedding" and isinstance(job.source, np.ndarray):
                made[i].arrays["teacher"] = job.source
        self._fill(jobs, made, "code", self.model.to_codes)
        self._fill(jobs, made, "embedding", self.model.predict)
        codes = [i for i, job in enumerate(jobs) if job.kind == "code"]
        if codes:
            rows_NS = np.stack([np.asarray(jobs[i].source, np.float32) for i in codes])
            for i, row_D in zip(codes, _passes(self.model.from_codes, rows_NS), strict=True):
                made[i].arrays["embedding"] = row_D
        return [self._finished(job, vectors) for job, vectors in zip(jobs, made, strict=True)]

    def _fill(
        self,
        jobs: Sequence[Job],
        made: list[Vectors],
        output: Output,
        compute: Callable[[Tensor, int], Tensor],
    ) -> None:
        """Compute one output of all jobs that want it and are no codes."""
        wanted = [i for i, job in enumerate(jobs) if output in job.outputs and job.kind != "code"]
        if not wanted:
            return
        source_ND = np.stack([made[i].arrays["teacher"] for i in wanted])
        for i, row_W in zip(wanted, _passes(compute, source_ND), strict=True):
            made[i].arrays[output] = row_W

    def _finished(self, job: Job, vectors: Vectors) -> Vectors | Exception:
        if not all(np.isfinite(row_W).all() for row_W in vectors.arrays.values()):
            return DataError(
                "input",
                f"expected {job.kind} that leads to finite numbers, got one that overflows float32",
                "Pass numbers of the size that this model makes",
            )
        if job.nearest and self.bank is not None:
            row_1D = vectors.arrays["embedding"][None]
            (found,) = self.bank.decode(row_1D, min(job.nearest, self.bank.most))
            vectors.nearest = list(found)
        return vectors


def _passes(compute: Callable[[Tensor, int], Tensor], rows_NW: Floats) -> Floats:
    """``compute`` in passes of exactly :data:`ROWS` rows."""
    count = len(rows_NW)
    filled = np.resize(np.arange(count), -(-count // ROWS) * ROWS)
    made_NV: Floats = compute(torch.from_numpy(rows_NW[filled]), ROWS).float().numpy()
    return made_NV[:count]
