"""Ends a run that no longer improves."""

from __future__ import annotations

from typing import Any

from latticegraph.config.training import EarlyStoppingSettings
from latticegraph.training.state import Callback, TrainingState, ValidationResult


class EarlyStopping(Callback):
    """Asks to stop after ``patience`` validations without a better explained variance.

    Args:
        settings: patience (0: never stop) and the smallest gain that counts.

    Attributes:
        reference: the value that the next validation has to exceed by ``min_delta``.
        stale: validations since the reference rose.
    """

    def __init__(self, settings: EarlyStoppingSettings) -> None:
        self.settings = settings
        self.reference: float | None = None
        self.stale = 0

    def on_start(self, state: TrainingState) -> None:
        """Stop a resumed run that had stopped."""
        self._check(state)

    def on_validation(self, state: TrainingState, result: ValidationResult) -> None:
        """Compare the value with the reference."""
        value = result.values["explained_variance"]
        if self.reference is None or value > self.reference + self.settings.min_delta:
            self.reference, self.stale = value, 0
        else:
            self.stale += 1
        self._check(state)

    def _check(self, state: TrainingState) -> None:
        if 0 < self.settings.patience <= self.stale:
            state.stop_requested = True

    def state_dict(self) -> dict[str, Any]:
        """The reference and the number of validations since it rose."""
        return {"reference": self.reference, "stale": self.stale}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Restore both."""
        self.reference, self.stale = values["reference"], values["stale"]
