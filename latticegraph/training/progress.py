"""How far a run has come, and how it ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

Reason = Literal["finished", "early", "interrupted"]


@dataclass
class TrainingProgress:
    """Everything a resumed run must know besides tensors; stored in the checkpoint as JSON.

    Attributes:
        update: updates done.
        epoch: epochs completed; for display, the update number decides.
        phase: name of the phase of the latest update; for display.
        scaler: state of the scale of the loss; empty except for float16.
        callbacks: what every callback keeps, by its name.
    """

    update: int = 0
    epoch: int = 0
    phase: str = ""
    scaler: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The fields as a dict that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The opposite of :meth:`to_json`.

        Raises:
            KeyError: when a field is missing.
        """
        return cls(**{f.name: values[f.name] for f in fields(cls)})


@dataclass(frozen=True)
class TrainingResult:
    """How a call of ``fit`` ended.

    Attributes:
        updates: updates done in the whole run, those before a resume included.
        epochs: epochs completed.
        reason: ``finished`` all phases, ``early`` stopping, or ``interrupted`` by a signal.
        best_explained_variance: best value on the validation pairs.
        best_update: when that was.
        samples_per_second: training samples per second of training, validations and files apart;
            0 when this call did no update.
        seconds: duration of this call.
        signal: number of the signal that interrupted it, None otherwise.
        best_checkpoint: file with the best weights.
        last_checkpoint: file to resume from.
    """

    updates: int
    epochs: int
    reason: Reason
    best_explained_variance: float
    best_update: int
    samples_per_second: float
    seconds: float
    signal: int | None
    best_checkpoint: Path
    last_checkpoint: Path
