"""Dynamic scale of the loss, which keeps small gradients above the smallest float16."""

from __future__ import annotations

from dataclasses import dataclass

LARGEST = 2.0**24


@dataclass
class LossScale:
    """The factor on the loss before the backward pass (Micikevicius et al. 2018).

    An update whose gradients overflow is left out and halves the scale; after ``interval`` updates
    without an overflow it doubles. Powers of two: scaling and unscaling round nothing.

    Args:
        value: the scale; 1 where it is not used.
        since_change: updates since the last overflow or doubling.
        interval: updates without overflow before it doubles.
    """

    value: float = 1.0
    since_change: int = 0
    interval: int = 500

    @property
    def is_used(self) -> bool:
        """Whether gradients are scaled at all."""
        return self.value != 1.0

    def overflowed(self) -> bool:
        """Count an update that was left out; False when the scale cannot fall any further."""
        self.value, self.since_change = self.value / 2, 0
        return self.value > 1.0

    def went_well(self) -> None:
        """Count an update."""
        self.since_change += 1
        if self.is_used and self.since_change >= self.interval and self.value < LARGEST:
            self.value, self.since_change = self.value * 2, 0


def loss_scale(precision: str) -> LossScale:
    """The scale a run begins with."""
    return LossScale(2.0**14 if precision == "float16" else 1.0)
