"""What the three experts have in common.

Legend: C channels, N cells, B batch, E edges, O distinct offsets, H heads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from latticegraph.aggregation import Neighbourhood, sparse_neighbour_sum
from latticegraph.model.channel_linear import ChannelLinear
from latticegraph.model.edge_weights import EdgeWeights

MIXING = 1.5  # sum over offsets of a head's initial random weights
QUIET = 0.1  # share of it in the channels that carry the surface


class Expert(MessagePassing, ABC):
    """A message-passing layer over one edge type; its subclasses differ in the update.

    Equation::

        m_i = sum over j in N(i) of w(e_ij) * V x_j        w: per head, from edge_attr;  V: per cell
        u_i = y_i - x_i,  y_i = propose(x_i, m_i)

    All nonlinearities act on cells. Used inside :class:`Lattice3D` through :meth:`proposal`, and
    alone, on any ``torch_geometric.data.Data`` with the same edge attributes, by calling it.

    Args:
        channels: C, numbers per cell.
        heads: H, edge weights per edge; divides C.
        edge_hidden: hidden width of the edge-weight network.
        norm: normalise what each cell sends to zero mean and unit variance over channels.
        gain: scale of the random part of the initial weights.

    Shapes:
        x (N, C), edge_index (2, E), edge_attr (E, 4) -> (N, C); edge_attr holds distance /
        max_radius and the unit direction
    """

    def __init__(
        self,
        channels: int,
        heads: int = 1,
        edge_hidden: int = 16,
        norm: bool = False,
        gain: float = 1.0,
    ) -> None:
        super().__init__(aggr="add", node_dim=-2)
        if channels % heads:
            raise ValueError(f"heads: expected a divisor of channels ({channels}), got {heads}")
        self.channels = channels
        self.heads = heads
        self.gain = gain
        self.edge_weights = EdgeWeights(heads, edge_hidden, gain)
        self.value: ChannelLinear | None = ChannelLinear(channels, channels, gain)
        self.norm = nn.LayerNorm(channels) if norm else None
        self.build()

    @abstractmethod
    def build(self) -> None:
        """Make the layers of the update."""

    def reset_parameters(self) -> None:
        """Draw new weights."""
        super().reset_parameters()
        self.edge_weights.reset_parameters(self.gain)
        if self.value is not None:
            self.value.reset_parameters(self.gain)
        if self.norm is not None:
            self.norm.reset_parameters()

    @torch.no_grad()
    def start_transport(self, edge_attr_O4: Tensor, wanted_O: Tensor, quiet: int) -> None:
        """Begin as a copy of the neighbours that ``wanted_O`` weighs, plus random mixing.

        The first ``quiet`` channels, which carry the surface, get little of the random part; the
        others start as random nonlinear features of it.

        Args:
            edge_attr_O4: attributes of every distinct offset.
            wanted_O: initial weight of each offset.
            quiet: number of channels that carry the surface.
        """
        offsets = wanted_O.numel()
        random_OH = torch.randn(offsets, self.heads) * MIXING * self.gain / offsets
        random_OH[:, :quiet] *= QUIET
        self.edge_weights.fit(edge_attr_O4, wanted_O[:, None] + random_OH)
        if self.value is not None:
            self.value.weight.mul_(0.3)
            self.value.weight[:quiet] *= QUIET
            self.value.weight.add_(torch.eye(self.channels))

    def proposal(
        self, x_CNB: Tensor, neighbourhood: Neighbourhood, weight_EH: Tensor | None = None
    ) -> Tensor:
        """The state y = x + u that this expert proposes for every cell and sample.

        Args:
            x_CNB: states.
            neighbourhood: this expert's edges.
            weight_EH: edge weights if already computed; they do not depend on the state.
        """
        if weight_EH is None:
            weight_EH = self.weights(neighbourhood)
        values_CNB = x_CNB
        if self.norm is not None:
            values_CNB = self.norm(x_CNB.movedim(0, -1)).movedim(-1, 0)
        if self.value is not None:
            values_CNB = self.value(values_CNB)
        if neighbourhood.pattern is not None:
            m_CNB = sparse_neighbour_sum(values_CNB, weight_EH, neighbourhood.pattern)
        else:
            m_CNB = self.propagate(
                neighbourhood.edge_index_2E, values=values_CNB, weight=weight_EH.to(x_CNB.dtype)
            )
        return self.propose(x_CNB, m_CNB)

    def weights(self, neighbourhood: Neighbourhood) -> Tensor:
        """Edge weights of all edges of ``neighbourhood``, (E, H)."""
        return neighbourhood.per_edge(self.edge_weights(neighbourhood.edge_attr_O4))

    def message(self, values_j: Tensor, weight: Tensor) -> Tensor:
        """Weighted value of each edge's source (the edge-level reference)."""
        repeats = values_j.shape[0] // weight.shape[1]
        return values_j * weight.t().repeat(repeats, 1)[:, :, None]

    @abstractmethod
    def propose(self, x_CNB: Tensor, m_CNB: Tensor) -> Tensor:
        """The proposal y from a cell's own state and the sum over its neighbours."""

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """``y = x + u`` on any graph: the layer alone, as in ``torch_geometric.nn.conv``."""
        neighbourhood = Neighbourhood(edge_index, edge_attr, x.shape[0], self.heads, "scatter")
        return self.proposal(x.t()[:, :, None], neighbourhood)[:, :, 0].t()
