"""The distant expert: continuous-time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from latticegraph.dynamics.channel_linear import ChannelLinear
from latticegraph.dynamics.expert import Expert

MOST_SUBSTEPS = 16


class DistantExpert(Expert):
    """State of an ordinary differential equation driven by far neighbours, by Euler sub-steps.

    Equation::

        dz/dt = W sigmoid(U z + P m + c) + m + b - z,    z(0) = x,    u = z(1) - x

    with a step of 1 / substeps.

    Source: continuous-time recurrent cells (Funahashi and Nakamura 1993).

    Args:
        channels: C, numbers per cell.
        substeps: Euler sub-steps, 1 to 16.
        shared: further arguments of :class:`Expert`.

    Shapes:
        those of :class:`Expert`.

    Raises:
        ValueError: when substeps are out of range.
    """

    def __init__(self, channels: int, substeps: int = 2, **shared: Any) -> None:
        super().__init__(channels, **shared)
        if not isinstance(substeps, int) or not 1 <= substeps <= MOST_SUBSTEPS:
            raise ValueError(
                f"substeps: expected a whole number from 1 to {MOST_SUBSTEPS}, got {substeps}"
            )
        self.substeps = substeps
        self.drive = ChannelLinear(channels, channels)
        self.recur = ChannelLinear(channels, channels, bias=False)
        self.out = ChannelLinear(channels, channels, bias=False)
        self.rest = nn.Parameter(torch.empty(channels))
        self._start()

    def _start(self) -> None:
        for layer in (self.drive, self.recur, self.out):
            layer.reset_parameters(self.gain)
        with torch.no_grad():  # sigmoid(0) = 1/2: the cell at rest stays there
            self.rest.copy_(-0.5 * self.out.weight.sum(dim=1))

    def reset_parameters(self) -> None:
        """Draw new weights."""
        super().reset_parameters()
        self._start()

    def update(self, m_CM: Tensor, x_CM: Tensor) -> Tensor:
        """``z(1) - x`` after the Euler sub-steps."""
        drive_CM = self.drive(m_CM)
        pull_CM = m_CM + self.rest[:, None]
        z_CM = x_CM
        for _ in range(self.substeps):
            active_CM = torch.sigmoid(self.recur(z_CM, plus_KM=drive_CM))
            z_CM = torch.lerp(z_CM, self.out(active_CM, plus_KM=pull_CM), 1.0 / self.substeps)
        return z_CM - x_CM
