"""A trained student out of a checkpoint."""

from __future__ import annotations

from pathlib import Path

from latticegraph.config import Config
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Student, build_student
from latticegraph.training.checkpoint import load_weights, read_checkpoint


def load_student(checkpoint: Path) -> tuple[Config, Student, LatticeGraph]:
    """Build the student of a checkpoint, on the CPU and in evaluation mode.

    Args:
        checkpoint: usually ``<run>/checkpoints/best.safetensors``.

    Returns:
        The configuration it was trained with, the student, and its lattice.

    Raises:
        CheckpointError: when the file is missing, damaged, foreign or of another version.
    """
    stored = read_checkpoint(checkpoint)
    config = stored.config
    graph = LatticeGraph.build(config.lattice)
    student = build_student(config.model, graph, config.teacher.dimension, config.run.seed)
    load_weights(checkpoint, student, stored.student)
    student.eval()
    return config, student, graph
