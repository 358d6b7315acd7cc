"""Checks before the first update: do configuration, pairs and checkpoint fit together?"""

from __future__ import annotations

from pathlib import Path

from latticegraph.config import Config
from latticegraph.distributed import Processes
from latticegraph.errors import CheckpointError, ConfigError, DataError
from latticegraph.model import Student
from latticegraph.training.pairs import EmbeddingPairs


def check_widths(student: Student, train: EmbeddingPairs, validation: EmbeddingPairs) -> None:
    """Refuse pairs of another width than the student's.

    Raises:
        DataError: naming both widths.
    """
    for name, pairs in (("train", train), ("validation", validation)):
        if pairs.width != student.teacher_dimension:
            raise DataError(
                f"pairs.{name}",
                f"expected embeddings of width {student.teacher_dimension} (teacher.dimension), "
                f"got {pairs.width}",
                "Set teacher.dimension to the width of the teacher",
            )


def check_phases(config: Config) -> None:
    """Refuse a phase that trains only experts which the dynamics never call.

    Raises:
        ConfigError: naming the phase.
    """
    mode = config.model.dynamics.mode
    for index, phase in enumerate(config.training.phases):
        if phase.train == "experts" and mode != "lattice":
            raise ConfigError(
                f"training.phases.{index}.train",
                f"expected all or projections with model.dynamics.mode '{mode}', got 'experts'",
                "Set it to all, or model.dynamics.mode to lattice",
            )


def check_processes(config: Config, processes: Processes) -> None:
    """Refuse processes that cannot share the work equally.

    Raises:
        ConfigError: when the batch cannot be divided. Slabs of the cube are checked where they are
            cut.
    """
    size, batch = processes.size, config.training.batch_size
    if size == 1 or config.run.parallel == "slabs":
        return
    if batch % size:
        near = [n for n in (batch - batch % size, batch - batch % size + size) if n]
        raise ConfigError(
            "training.batch_size",
            f"expected a multiple of {size}, the processes that share each batch, got {batch}",
            f"Set training.batch_size to {' or '.join(map(str, near))}, or start another number of "
            "processes (torchrun --nproc-per-node)",
        )


def check_same_data(path: Path, student: Student, train: EmbeddingPairs) -> None:
    """Refuse to go on with other training embeddings; the means a student keeps tell them apart.

    Args:
        path: the checkpoint, for the error.
        student: with the weights and means of the checkpoint.
        train: the pairs to go on with.

    Raises:
        CheckpointError: when a mean differs.
    """
    # Far above the rounding of another machine, below what one changed text in 10^4 does.
    tolerance = 1e-5 * float(student.std)
    means = {
        "source": (student.mean_D, train.source_ND),
        "target": (student.target_mean_D, train.target_ND),
    }
    for name, (stored_D, rows_ND) in means.items():
        gap = float((stored_D.cpu() - rows_ND.mean(0)).abs().max())
        if gap > tolerance:
            raise CheckpointError(
                str(path),
                f"expected the training embeddings it was trained on, got {name} embeddings "
                f"whose mean differs by {gap:.2g}",
                "Restore the files of data.train and the teacher, or start a new run",
            )
