"""Checkpoints of a run: the last one, the best one, and periodic ones."""

from __future__ import annotations

from latticegraph.config import TrainingSettings
from latticegraph.training.progress import Reason
from latticegraph.training.state import Callback, TrainingState, ValidationResult


class Checkpointing(Callback):
    """Writes checkpoints; comes last, so that they hold what the other callbacks did.

    Args:
        settings: epochs between validations and checkpoints, and how many are kept.
    """

    def __init__(self, settings: TrainingSettings) -> None:
        self.settings = settings

    def on_start(self, state: TrainingState) -> None:
        """Write a checkpoint that the run can be resumed from even before its first epoch."""
        if not state.resumed:
            state.save(state.folder.last)

    def on_validation(self, state: TrainingState, result: ValidationResult) -> None:
        """Keep the best weights."""
        if result.best:
            state.save(state.folder.best)

    def on_epoch_end(self, state: TrainingState) -> None:
        """Write the periodic checkpoint where one is due, and the last one."""
        epoch = state.progress.epoch
        complete = state.plan.ends_epoch(state.progress.update)
        periodic = complete and epoch % self.settings.checkpoint_every == 0
        if periodic:
            state.save(state.folder.epoch(epoch))
            if state.processes.is_writer:
                state.folder.prune(self.settings.keep_checkpoints)
        if periodic or state.at_end or epoch % self.settings.validate_every == 0:
            state.save(state.folder.last)

    def on_end(self, state: TrainingState, reason: Reason) -> None:
        """Write the checkpoint that an interrupted run is resumed from."""
        if reason == "interrupted":
            state.save(state.folder.last)
