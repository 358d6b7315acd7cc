"""The functional expert: gated."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

from latticegraph.dynamics.channel_linear import ChannelLinear
from latticegraph.dynamics.expert import SURFACE_SHARE, Expert

GATE_START = 2.0  # sigmoid(2) = 0.88: a cell begins by taking most of what its neighbours send


class FunctionalExpert(Expert):
    """Gated move of a cell's state towards a function of its neighbours.

    Equation::

        z = sigmoid(A x + B m + c)
        h = silu(D x + E m + f)
        u = z * (m + W h - x)

    Source: the gate of Cho et al. 2014 (GRU), with a candidate that starts close to m.

    Args:
        channels: C, numbers per cell.
        shared: further arguments of :class:`Expert`.

    Shapes:
        those of :class:`Expert`.
    """

    def __init__(self, channels: int, **shared: Any) -> None:
        super().__init__(channels, **shared)
        self.from_state = ChannelLinear(channels, 2 * channels)
        self.from_sum = ChannelLinear(channels, 2 * channels, bias=False)
        self.candidate = ChannelLinear(channels, channels, bias=False)
        self._start()

    def _start(self) -> None:
        channels = self.channels
        for layer in (self.from_state, self.from_sum):
            layer.reset_parameters(self.gain * 0.7)
            with torch.no_grad():
                layer.weight[:channels] *= 0.2
        with torch.no_grad():
            self.from_state.bias[:channels] = GATE_START  # type: ignore[index]
        self.candidate.reset_parameters(0.6 * self.gain)

    @torch.no_grad()
    def start_transport(
        self, edge_attr_O4: Tensor, wanted_O: Tensor, surface_channels: int, cell: float
    ) -> None:
        """As in :class:`Expert`; the candidate changes the surface channels little."""
        super().start_transport(edge_attr_O4, wanted_O, surface_channels, cell)
        self.candidate.weight[:surface_channels] *= SURFACE_SHARE

    def reset_parameters(self) -> None:
        """Draw new weights."""
        super().reset_parameters()
        self._start()

    def update(self, m_CM: Tensor, x_CM: Tensor) -> Tensor:
        """``z * (m + W h - x)``."""
        gate, hidden = self.from_sum(m_CM, plus_KM=self.from_state(x_CM)).chunk(2)
        target_CM: Tensor = self.candidate(silu(hidden), plus_KM=m_CM)
        return torch.sigmoid(gate) * (target_CM - x_CM)
