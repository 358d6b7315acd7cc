"""What the three experts have in common.

Legend: C channels, N cells, B batch, M = N B columns, K rows of a linear map, E edges, O distinct
offsets, H heads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from latticegraph.aggregation import EdgeNeighbourhood, Neighbourhood, Sums
from latticegraph.model.channel_linear import ChannelLinear
from latticegraph.model.edge_weights import EdgeWeights

MIXING = 1.5  # sum over offsets of a head's initial random weights
QUIET = 0.1  # share of it in the channels that carry the surface

LinearMap = tuple[Tensor, Tensor | None]
"""Weight (K, C) and bias (K)."""


@dataclass(frozen=True)
class Gradient:
    """Where :meth:`Expert.back` leaves gradients.

    Attributes:
        x_CM: of the states; added to what is there.
        m_CM: of the sums over neighbours; overwritten.
        rows: of the mapped states; overwritten.
    """

    x_CM: Tensor
    m_CM: Tensor
    rows: Sequence[Tensor]


class Expert(MessagePassing, ABC):
    """A message-passing layer over one edge type; its subclasses differ in the update.

    Equation::

        m_i = sum over j in N(i) of w(e_ij) * V x_j        w: per head, from edge_attr;  V: per cell
        u_i = y_i - x_i,  y_i = propose(x_i, m_i)

    All nonlinearities act on cells. Used inside :class:`Lattice3D`, which computes the linear maps
    of the state that all experts need in one product, and alone, on any
    ``torch_geometric.data.Data`` with the same edge attributes, by calling it.

    Args:
        channels: C, numbers per cell.
        heads: H, edge weights per edge; divides C.
        edge_hidden: hidden width of the edge-weight network.
        norm: normalise what each cell sends to zero mean and unit variance over channels.
        gain: scale of the random part of the initial weights.
        bumps: localised features of the edge-weight network.

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
        bumps: int = 0,
    ) -> None:
        super().__init__(aggr="add", node_dim=-2)
        if channels % heads:
            raise ValueError(f"heads: expected a divisor of channels ({channels}), got {heads}")
        self.channels = channels
        self.heads = heads
        self.gain = gain
        self.edge_weights = EdgeWeights(heads, edge_hidden, gain, bumps)
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
    def start_transport(
        self, edge_attr_O4: Tensor, wanted_O: Tensor, quiet: int, cell: float
    ) -> None:
        """Begin as a copy of the neighbours that ``wanted_O`` weighs, plus random mixing.

        The first ``quiet`` channels, which carry the surface, get little of the random part; the
        others start as random nonlinear features of it.

        Args:
            edge_attr_O4: attributes of every distinct offset.
            wanted_O: initial weight of each offset.
            quiet: number of channels that carry the surface.
            cell: side of a cell / max_radius.
        """
        offsets = wanted_O.numel()
        random_OH = torch.randn(offsets, self.heads) * MIXING * self.gain / offsets
        random_OH[:, :quiet] *= QUIET
        self.edge_weights.place_bumps(edge_attr_O4, wanted_O, cell)
        self.edge_weights.fit(edge_attr_O4, wanted_O[:, None] + random_OH)
        if self.value is not None:
            self.value.weight.mul_(0.3)
            self.value.weight[:quiet] *= QUIET
            self.value.weight.add_(torch.eye(self.channels))

    def prepare(self, neighbourhood: Neighbourhood) -> Sums:
        """Edge weights in the form that sums need; constant during a rollout."""
        with torch.autocast(neighbourhood.edge_attr_O4.device.type, enabled=False):
            weight_OH = self.edge_weights(neighbourhood.edge_attr_O4, neighbourhood.neighbours)
            return neighbourhood.prepare(neighbourhood.scaled(weight_OH))

    def state_maps(self, neighbourhood: Neighbourhood, prepared: Sums) -> list[LinearMap]:
        """Linear maps of the state that :meth:`proposal` wants computed, constant in a rollout.

        Args:
            neighbourhood: this expert's edges.
            prepared: result of :meth:`prepare`.
        """
        if self.value is None or self.norm is not None:
            return []
        return [(self.value.weight, self.value.bias)]

    def proposal(
        self, x_CM: Tensor, neighbourhood: Neighbourhood, prepared: Sums, rows: Sequence[Tensor]
    ) -> Tensor:
        """The state y = x + u that this expert proposes for every cell and sample.

        Args:
            x_CM: states, columns in the order of the neighbourhood.
            neighbourhood: this expert's edges.
            prepared: result of :meth:`prepare`.
            rows: the state under each of :meth:`state_maps`.
        """
        values_CM, rest = x_CM, rows
        if self.norm is not None:
            values_CM = self.norm(x_CM.t()).t()
            if self.value is not None:
                values_CM = self.value(values_CM)
        elif self.value is not None:
            values_CM, rest = rows[0], rows[1:]
        with torch.autocast(x_CM.device.type, enabled=False):  # no sum is exact in half precision
            m_CM = self._sum(values_CM.to(x_CM.dtype), neighbourhood, prepared)
        return self.propose(x_CM, m_CM, rest)

    def _sum(self, values_CM: Tensor, neighbourhood: Neighbourhood, prepared: Sums) -> Tensor:
        if isinstance(neighbourhood, EdgeNeighbourhood):
            values_CNB = values_CM.reshape(self.channels, neighbourhood.num_cells, -1)
            summed: Tensor = self.propagate(
                neighbourhood.edge_index_2E,
                values=values_CNB,
                weight=prepared[0].to(values_CM.dtype),
            )
            return summed.flatten(1)
        return neighbourhood.sum(values_CM, prepared)

    def message(self, values_j: Tensor, weight: Tensor) -> Tensor:
        """Weighted value of each edge's source (the edge-level reference)."""
        repeats = values_j.shape[0] // weight.shape[1]
        return values_j * weight.t().repeat(repeats, 1)[:, :, None]

    @abstractmethod
    def propose(self, x_CM: Tensor, m_CM: Tensor, rows: Sequence[Tensor]) -> Tensor:
        """The proposal y from a cell's own state, the sum over its neighbours and mapped states."""

    def own_parameters(self) -> list[Tensor]:
        """Parameters that :meth:`run` uses, in the order of their gradients from :meth:`back`."""
        return []

    @abstractmethod
    def run(
        self, x_CM: Tensor, m_CM: Tensor, rows: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """:meth:`propose` outside autograd, and what :meth:`back` needs of it.

        Args:
            x_CM: states.
            m_CM: sums over neighbours.
            rows: the state under each of :meth:`state_maps` but the value; overwritten.
        """

    @abstractmethod
    def back(self, grad_CM: Tensor, kept: list[Tensor], gradient: Gradient) -> list[Tensor]:
        """The gradient of :meth:`run`, by hand.

        Args:
            grad_CM: gradient of the proposal.
            kept: x, m and then what :meth:`run` kept.
            gradient: where those of x (added), m and the rows (written) belong.

        Returns:
            Gradients of :meth:`own_parameters`.
        """

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """``y = x + u`` on any graph: the layer alone, as in ``torch_geometric.nn.conv``."""
        neighbourhood = EdgeNeighbourhood(edge_index, edge_attr, x.shape[0], self.heads)
        prepared = self.prepare(neighbourhood)
        maps = self.state_maps(neighbourhood, prepared)
        x_CM = x.t()
        rows = [mapped(weight, bias, x_CM) for weight, bias in maps]
        return self.proposal(x_CM, neighbourhood, prepared, rows).t()


def mapped(weight_KC: Tensor, bias_K: Tensor | None, x_CM: Tensor) -> Tensor:
    """``W x + b`` of every column, (K, M)."""
    if bias_K is None:
        return weight_KC @ x_CM
    return torch.addmm(bias_K[:, None], weight_KC, x_CM)
