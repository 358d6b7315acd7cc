"""The base class of all experts.

Legend: C channels, N cells, B batch, M = N B columns, E edges, O distinct offsets, H heads.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from latticegraph.aggregation import EdgeNeighbourhood, Neighbourhood
from latticegraph.aggregation.edges import remove_generated_files
from latticegraph.aggregation.layout import map_cells
from latticegraph.dynamics.channel_linear import ChannelLinear
from latticegraph.dynamics.edge_weights import EdgeWeights
from latticegraph.dynamics.offset_table import EdgeTable, OffsetTable

MIXING = 1.5  # sum over offsets of a head's initial random weights
SURFACE_SHARE = 0.1  # share of it in the channels that carry the surface


class Expert(MessagePassing, ABC):
    """A message-passing layer over the edges of some types.

    Equation::

        m_i = sum over j in N(i) of w(e_ij) * value(x_j)       w: per head, from edge_attr
        u_i = update(m_i, x_i)

    All nonlinearities act on cells, never on edges. A subclass defines :meth:`update`, and
    :meth:`value` where cells should send something else than a linear map of their state. Both get
    states with the channels first and one column per cell and sample. Nothing else is needed to
    train it with every backend, precision and number of processes.

    A class with ``by_cell = True`` has weights for every cell: it is made with the number of
    ``cells`` and its ``update`` gets a :class:`~latticegraph.aggregation.CellMaps` besides.

    The layer also works alone, on any ``torch_geometric.data.Data`` with the same edge attributes;
    with a table of weights only where there are as many edges as the table has rows.

    Args:
        channels: C, numbers per cell.
        heads: H, edge weights per edge; divides C.
        edge_hidden: hidden width of the edge-weight network.
        bumps: localised features of the edge-weight network.
        norm: normalise what each cell sends to zero mean and unit variance over channels.
        gain: scale of the random part of the initial weights, above 0.
        sends_state: cells send their state itself instead of a linear map of it.
        weights: what makes the edge weights: ``network``, an
            :class:`~latticegraph.dynamics.edge_weights.EdgeWeights`; ``table``, an
            :class:`~latticegraph.dynamics.offset_table.OffsetTable`; or ``edge``, an
            :class:`~latticegraph.dynamics.offset_table.EdgeTable`.
        offsets: rows of the table: O distinct offsets, or with ``edge`` E edges; without effect on
            a network.
        neighbours: of a cell far from all faces, for the start of ``edge``.
        bounded: scale the weights so that one sum grows the largest value at most 2-fold.
        weight_gain: scale of the random part of the initial edge weights, times ``gain``, above 0.

    Shapes:
        x (N, C), edge_index (2, E), edge_attr (E, 4) -> x + u (N, C); edge_attr holds distance /
        max_radius and the unit direction

    Raises:
        ValueError: when heads do not divide channels, ``weights`` names none of the three, or a
            table is not told its rows.
        GraphError: when a table is given another number of edge attributes than it has rows.
    """

    by_cell: ClassVar[bool] = False

    def __init__(
        self,
        channels: int,
        heads: int = 1,
        edge_hidden: int = 16,
        bumps: int = 0,
        norm: bool = False,
        gain: float = 1.0,
        sends_state: bool = False,
        weights: str = "network",
        offsets: int | None = None,
        neighbours: int = 1,
        bounded: bool = True,
        weight_gain: float = 1.0,
    ) -> None:
        super().__init__(aggr="add", node_dim=-1)
        remove_generated_files(self)
        if channels % heads:
            raise ValueError(f"heads: expected a divisor of channels ({channels}), got {heads}")
        self.channels = channels
        self.heads = heads
        self.gain = gain
        self.bounded = bounded
        self.weight_gain = gain * weight_gain
        self.edge_weights: EdgeWeights | OffsetTable
        if weights == "network":
            self.edge_weights = EdgeWeights(heads, edge_hidden, self.weight_gain, bumps)
        elif weights not in ("table", "edge"):
            raise ValueError(f"weights: expected network, table or edge, got {weights}")
        elif not offsets:
            raise ValueError(
                "offsets: expected the number of distinct offsets (or edges), at least 1, with "
                f"weights '{weights}', got {offsets}"
            )
        elif weights == "edge":
            self.edge_weights = EdgeTable(offsets, heads, neighbours, self.weight_gain)
        else:
            self.edge_weights = OffsetTable(offsets, heads, self.weight_gain)
        value = ChannelLinear(channels, channels, gain)
        self.value_map: ChannelLinear | None = None if sends_state else value
        self.norm = nn.LayerNorm(channels) if norm else None

    def reset_parameters(self) -> None:
        """Draw new weights."""
        super().reset_parameters()
        self.edge_weights.reset_parameters(self.weight_gain)
        if self.value_map is not None:
            self.value_map.reset_parameters(self.gain)
        if self.norm is not None:
            self.norm.reset_parameters()

    def value(self, x_CM: Tensor) -> Tensor:
        """What each cell sends to its neighbours, before the edge weights.

        Args:
            x_CM: states.

        Shapes:
            (C, M) -> (C, M)
        """
        if self.norm is not None:
            x_CM = self.norm(x_CM.t()).t()
        return x_CM if self.value_map is None else self.value_map(x_CM)

    def weights_of(self, neighbourhood: Neighbourhood) -> Tensor:
        """Weight of each distinct offset (or edge) and head, scaled where they are bounded.

        Args:
            neighbourhood: the edges.

        Shapes:
            (O, H)

        Raises:
            GraphError: when the weights are a table of another number of offsets.
        """
        weight_OH: Tensor = self.edge_weights(neighbourhood.edge_attr_O4, neighbourhood.neighbours)
        return neighbourhood.scaled(weight_OH) if self.bounded else weight_OH

    @abstractmethod
    def update(self, m_CM: Tensor, x_CM: Tensor) -> Tensor:
        """The change u that this expert proposes for every cell.

        The order of the arguments is that of ``MessagePassing.update``.

        Args:
            m_CM: aggregated messages.
            x_CM: states.

        Shapes:
            (C, M), (C, M) -> (C, M)
        """

    @torch.no_grad()
    def start_transport(
        self, edge_attr_O4: Tensor, wanted_O: Tensor, surface_channels: int, cell: float
    ) -> None:
        """Begin as a copy of the neighbours that ``wanted_O`` weighs, plus random mixing.

        The channels that carry the surface get little of the random part; the others start as
        random nonlinear features of the surface.

        Args:
            edge_attr_O4: attributes of every distinct offset (or edge).
            wanted_O: initial weight of each of them.
            surface_channels: number of channels, the first ones, that carry the surface.
            cell: side of a cell / max_radius.
        """
        table = self.edge_weights
        count = table.neighbours if isinstance(table, OffsetTable) else wanted_O.numel()
        random_OH = torch.randn(wanted_O.numel(), self.heads) * MIXING * self.weight_gain / count
        random_OH[:, :surface_channels] *= SURFACE_SHARE
        if isinstance(self.edge_weights, EdgeWeights):
            self.edge_weights.place_bumps(edge_attr_O4, wanted_O, cell)
        self.edge_weights.fit(edge_attr_O4, wanted_O[:, None] + random_OH)
        if self.value_map is not None:
            self.value_map.weight.mul_(0.3)
            self.value_map.weight[:surface_channels] *= SURFACE_SHARE
            self.value_map.weight.add_(torch.eye(self.channels))

    def message(self, values_j: Tensor, weight: Tensor) -> Tensor:
        """Value of each edge's source times the weight of the edge and head, (C, E)."""
        return values_j * weight.t().repeat(values_j.shape[0] // weight.shape[1], 1)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """``x + u`` on any graph, as the layers of ``torch_geometric.nn.conv``."""
        edges = EdgeNeighbourhood(edge_index, edge_attr, x.shape[0], self.heads)
        weight_EH = self.weights_of(edges)
        x_CN = x.t()
        _, *names = inspect.signature(self.update).parameters
        further = dict(zip(names, (x_CN, _OneSample()), strict=False))
        u_CN: Tensor = self.propagate(
            edge_index, values=self.value(x_CN), weight=weight_EH, **further
        )
        return (x_CN + u_CN).t()


class _OneSample:
    """Columns are cells."""

    def map_cells(self, weight_NKC: Tensor, bias_NK: Tensor, x_CN: Tensor) -> Tensor:
        return map_cells(weight_NKC, bias_NK, x_CN[..., None])[..., 0]
