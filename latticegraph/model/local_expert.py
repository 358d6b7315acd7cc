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

    def build(self) -> None:
        """The map W; cells send their state as it is."""
        self.value = None
        self.mix = ChannelLinear(self.channels, self.channels, 0.2 * self.gain, bias=False)

    def reset_parameters(self) -> None:
        """Draw new weights."""
        super().reset_parameters()
        self.mix.reset_parameters(0.2 * self.gain)

    def propose(self, x_CNB: Tensor, m_CNB: Tensor) -> Tensor:
        """The proposal y from the state and the sum over neighbours."""
        y_CNB: Tensor = self.mix(m_CNB, plus_KNB=x_CNB)
        return y_CNB
