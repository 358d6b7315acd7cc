"""The local expert: linear."""

from __future__ import annotations

from torch import Tensor

from latticegraph.model.channel_linear import ChannelLinear
from latticegraph.model.expert import Expert


class LocalExpert(Expert):
    """Linear update from the cell itself and its closest neighbours.

    Equation::

        m_i = sum over j of w(e_ij) x_j
        u = W m

    Arguments and shapes are those of :class:`Expert`.
    """

    def __init__(
        self,
        channels: int,
        heads: int = 1,
        edge_hidden: int = 16,
        norm: bool = False,
        gain: float = 1.0,
    ) -> None:
        super().__init__(channels, heads, edge_hidden, norm, gain)
        self.value = None
        self.mix = ChannelLinear(channels, channels, 0.2 * gain, bias=False)

    def reset_parameters(self) -> None:
        """Draw new weights."""
        super().reset_parameters()
        self.mix.reset_parameters(0.2 * self.gain)

    def propose(self, x_CNB: Tensor, m_CNB: Tensor) -> Tensor:
        """Y from the state and the sum over neighbours."""
        y_CNB: Tensor = self.mix(m_CNB, plus_KNB=x_CNB)
        return y_CNB
