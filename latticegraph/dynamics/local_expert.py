"""The local expert: linear."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from latticegraph.dynamics.channel_linear import ChannelLinear
from latticegraph.dynamics.expert import Expert


class LocalExpert(Expert):
    """Linear update from the cell itself and its closest neighbours.

    Equation::

        m_i = sum over j of w(e_ij) x_j
        u = W m

    Args:
        channels: C, numbers per cell.
        shared: further arguments of :class:`Expert`.

    Shapes:
        those of :class:`Expert`.
    """

    def __init__(self, channels: int, **shared: Any) -> None:
        super().__init__(channels, **{"sends_state": True, **shared})
        self.mix = ChannelLinear(channels, channels, 0.2 * self.gain, bias=False)

    def reset_parameters(self) -> None:
        """Draw new weights."""
        super().reset_parameters()
        self.mix.reset_parameters(0.2 * self.gain)

    def update(self, m_CM: Tensor, x_CM: Tensor) -> Tensor:
        """``W m``."""
        u_CM: Tensor = self.mix(m_CM)
        return u_CM
