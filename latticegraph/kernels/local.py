"""The kernel of the local expert.

Legend: C channels, M columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from latticegraph.aggregation import Neighbourhood, PreparedWeights, SelfNeighbourhood
from latticegraph.dynamics.kernel import ExpertKernel, LinearMap, OutputBuffers, register_kernel
from latticegraph.dynamics.local_expert import LocalExpert


@register_kernel(LocalExpert, derived_from="2168335952363ff7")
class LocalKernel(ExpertKernel[LocalExpert]):
    """``x + W m``; where a cell is its own only neighbour, one linear map of the state."""

    def kept_states(self, expert: LocalExpert) -> int:
        """The messages."""
        return 1

    def maps(
        self, expert: LocalExpert, neighbourhood: Neighbourhood, weights: PreparedWeights
    ) -> list[LinearMap]:
        """The whole proposal ``(1 + W w) x`` where there is no neighbour but the cell itself."""
        if not isinstance(neighbourhood, SelfNeighbourhood):
            return super().maps(expert, neighbourhood, weights)
        own_C = neighbourhood.per_channel(weights, expert.channels)
        return [(torch.eye(expert.channels).to(own_C) + expert.mix.weight * own_C, None)]

    def is_linear(self, expert: LocalExpert, self_only: bool) -> bool:
        """Whether there is no neighbour but the cell itself."""
        return self_only

    def parameters(self, expert: LocalExpert) -> list[Tensor]:
        """W."""
        return [expert.mix.weight]

    def forward(
        self, expert: LocalExpert, x_CM: Tensor, m_CM: Tensor, rows: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """``x + W m``."""
        return torch.addmm(x_CM, expert.mix.weight, m_CM), []

    def backward(
        self, expert: LocalExpert, grad_CM: Tensor, kept: list[Tensor], buffers: OutputBuffers
    ) -> list[Tensor]:
        """As in :class:`ExpertKernel`."""
        _, m_CM = kept
        buffers.x_CM.add_(grad_CM)
        torch.mm(expert.mix.weight.t(), grad_CM, out=buffers.m_CM)
        return [grad_CM @ m_CM.t()]
