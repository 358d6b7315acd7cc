"""How far a run has come, and how it ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

Reason = Literal["finished", "early", "interrupted"]


@dataclass
class Progress:
    """Everything a resumed run must know besides tensors; lives in the checkpoint as JSON.

    Attributes:
        update: updates done.
        epoch: epochs completed, for people; the update number decides.
        phase: name of the phase of the latest update, for people.
        best_value: best explained variance on validation pairs so far; None before the first.
        best_update: when that was.
        reference: the value that the next validation has to beat by ``min_delta``.
        stale: validations since the reference rose.
        metrics_bytes: length of metrics.jsonl.
        window_seconds: time of the updates that are not logged yet.
        cache_hit_rate: share of texts whose embedding was on disk when the run started.
        loss_scale: factor on the loss, 1 but for float16.
        scale_calm: updates since that factor changed.
    """

    update: int = 0
    epoch: int = 0
    phase: str = ""
    best_value: float | None = None
    best_update: int = 0
    reference: float | None = None
    stale: int = 0
    metrics_bytes: int = 0
    window_seconds: float = 0.0
    cache_hit_rate: float | None = None
    loss_scale: float = 1.0
    scale_calm: int = 0

    def to_json(self) -> dict[str, Any]:
        """The fields as a dict that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The opposite of :meth:`to_json`.

        Raises:
            KeyError: when a field is missing.
        """
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    def judge(self, value: float, min_delta: float) -> bool:
        """Count one validation; True when it is the best so far.

        Args:
            value: explained variance on the validation pairs.
            min_delta: smallest gain that counts against early stopping.
        """
        best = self.best_value is None or value > self.best_value
        if best:
            self.best_value, self.best_update = value, self.update
        if self.reference is None or value > self.reference + min_delta:
            self.reference, self.stale = value, 0
        else:
            self.stale += 1
        return best


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
