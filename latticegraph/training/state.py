"""Everything about a run that changes while it trains, and its way to disk and back."""

from __future__ import annotations

from pathlib import Path

import torch

from latticegraph.config import Config
from latticegraph.hub import load_weights
from latticegraph.model import Student
from latticegraph.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from latticegraph.training.compare import check_same_config
from latticegraph.training.inputs import check_same_data
from latticegraph.training.loss_scale import loss_scale
from latticegraph.training.machine import random_state, restore_random_state
from latticegraph.training.optimizer import StudentOptimizer
from latticegraph.training.pairs import EmbeddingPairs
from latticegraph.training.progress import Progress
from latticegraph.training.window import Window


class RunState:
    """Weights, moments, counters, running sums and random state.

    Args:
        config: the whole configuration.
        student: the model.
        device: where the student computes.
        cache_hit_rate: for the log.
    """

    def __init__(
        self,
        config: Config,
        student: Student,
        device: torch.device,
        cache_hit_rate: float | None,
    ) -> None:
        self.config = config
        self.student = student
        self.device = device
        self.optimizer = StudentOptimizer(student, config.training)
        self.window = Window(config.model.dynamics.steps)
        self.progress = Progress(cache_hit_rate=cache_hit_rate)
        self.scale = loss_scale(config.training.precision)

    def save(self, path: Path) -> None:
        """Write a checkpoint.

        Raises:
            CheckpointError: when the disk refuses.
        """
        self.progress.loss_scale = self.scale.value
        self.progress.scale_calm = self.scale.calm
        snapshot = Checkpoint(
            self.config,
            self.progress,
            self.student.state_dict(),
            self.optimizer.tensors(),
            random_state(self.device),
            self.window.sums,
        )
        write_checkpoint(path, snapshot)

    def restore(self, path: Path, train: EmbeddingPairs) -> None:
        """Go back to the moment of a checkpoint.

        Args:
            path: the checkpoint.
            train: the training pairs, which must be those it was trained on.

        Raises:
            CheckpointError: when it cannot be read, or belongs to other settings or other data.
        """
        stored = read_checkpoint(path)
        check_same_config(path, stored.config, self.config)
        load_weights(path, self.student, stored.student)
        check_same_data(path, self.student, train)
        self.progress = stored.progress
        self.scale.value, self.scale.calm = self.progress.loss_scale, self.progress.scale_calm
        self.optimizer.restore(stored.optimizer)
        self.window.restore(stored.window, self.device)
        restore_random_state(stored.random, self.device)
