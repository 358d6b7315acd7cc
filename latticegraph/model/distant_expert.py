"""The distant expert: continuous-time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latticegraph.model.channel_linear import ChannelLinear
from latticegraph.model.expert import Expert


class DistantExpert(Expert):
    """State of an ordinary differential equation driven by far neighbours, by Euler sub-steps.

    Equation::

        dz/dt = W sigmoid(U z + P m + c) + m + b - z,    z(0) = x,    u = z(1) - x

    with a step of 1 / substeps.

    Source: continuous-time recurrent cells (Funahashi and Nakamura 1993).

    Args:
        channels: C, numbers per cell.
        heads: H, edge weights per edge; divides C.
        edge_hidden: hidden width of the edge-weight network.
        norm: normalise what each cell sends.
        gain: scale of the random part of the initial weights.
        substeps: Euler sub-steps, 1 or more.

    Shapes:
        those of :class:`Expert`.
    """

    def __init__(
        self,
        channels: int,
        heads: int = 1,
        edge_hidden: int = 16,
        norm: bool = False,
        gain: float = 1.0,
        substeps: int = 2,
    ) -> None:
        super().__init__(channels, heads, edge_hidden, norm, gain)
        self.substeps = substeps

    def build(self) -> None:
        """Drive, recurrence, output and rest."""
        channels = self.channels
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

    def propose(self, x_CNB: Tensor, m_CNB: Tensor) -> Tensor:
        """The proposal y from the state and the sum over neighbours."""
        drive = self.drive(m_CNB)
        pull = m_CNB + self.rest[:, None, None]
        z_CNB = x_CNB
        for _ in range(self.substeps):
            active = torch.sigmoid(self.recur(z_CNB, plus_KNB=drive))
            z_CNB = torch.lerp(z_CNB, self.out(active, plus_KNB=pull), 1.0 / self.substeps)
        return z_CNB
