"""The local expert: linear."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from latticegraph.aggregation import Neighbourhood, SelfNeighbourhood, Sums
from latticegraph.model.channel_linear import ChannelLinear
from latticegraph.model.expert import Expert, Gradient, LinearMap


class LocalExpert(Expert):
    """Linear update from the cell itself and its closest neighbours.

    Equation::

        m_i = sum over j of w(e_ij) x_j
        u = W m

    Where a cell is its own only neighbour this is one linear map of the state.

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

    def state_maps(self, neighbourhood: Neighbourhood, prepared: Sums) -> list[LinearMap]:
        """The whole update, ``1 + W w``, where there is no neighbour but the cell itself."""
        if self.norm is not None or not isinstance(neighbourhood, SelfNeighbourhood):
            return []
        own_C = neighbourhood.per_channel(prepared, self.channels)
        return [(torch.eye(self.channels).to(own_C) + self.mix.weight * own_C, None)]

    def proposal(
        self, x_CM: Tensor, neighbourhood: Neighbourhood, prepared: Sums, rows: Sequence[Tensor]
    ) -> Tensor:
        """As in :class:`Expert`; the mapped state itself where that is the whole update."""
        return rows[0] if rows else super().proposal(x_CM, neighbourhood, prepared, rows)

    def propose(self, x_CM: Tensor, m_CM: Tensor, rows: Sequence[Tensor]) -> Tensor:
        """The proposal y from the state and the sum over neighbours."""
        y_CM: Tensor = self.mix(m_CM, plus_KM=x_CM)
        return y_CM

    def own_parameters(self) -> list[Tensor]:
        """W."""
        return [self.mix.weight]

    def run(
        self, x_CM: Tensor, m_CM: Tensor, rows: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """As :meth:`propose`."""
        return torch.addmm(x_CM, self.mix.weight, m_CM), []

    def back(self, grad_CM: Tensor, kept: list[Tensor], gradient: Gradient) -> list[Tensor]:
        """As in :class:`Expert`."""
        _, m_CM = kept
        gradient.x_CM.add_(grad_CM)
        torch.mm(self.mix.weight.t(), grad_CM, out=gradient.m_CM)
        return [grad_CM @ m_CM.t()]
