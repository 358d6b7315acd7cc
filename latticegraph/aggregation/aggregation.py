"""Sums over the neighbours of several edge sets of one lattice.

Legend: C channels, N cells, B batch, M = N B columns, O offsets of an edge set, H heads.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latticegraph.aggregation.cells import Cells, SlabCells
from latticegraph.aggregation.convolution import (
    MOST_CELLS,
    ConvolutionNeighbourhood,
    PairNeighbourhood,
)
from latticegraph.aggregation.cost import cheapest
from latticegraph.aggregation.edges import EdgeNeighbourhood, SparseNeighbourhood
from latticegraph.aggregation.fourier import GridNeighbourhood
from latticegraph.aggregation.layout import Layout
from latticegraph.aggregation.neighbourhood import Backend, Neighbourhood, SelfNeighbourhood
from latticegraph.aggregation.slab_neighbourhood import SlabNeighbourhood
from latticegraph.aggregation.stencil import Stencil
from latticegraph.config.model import ModelSettings
from latticegraph.errors import ConfigError
from latticegraph.lattice import EdgeType, LatticeGraph

EdgeSet = tuple[EdgeType, ...]
"""Edge types that one expert aggregates over."""


class Aggregation:
    """The edge sets of all experts, the order of columns, and the cells held by this process.

    Args:
        graph: the lattice.
        edge_sets: edge types of every expert.
        heads: edge weights per edge of every expert.
        backend: how to sum; all backends give the same result.
        cells: which cells this process holds.
        by_edge: whether every edge has weights of its own, of every expert; else edges of equal
            offset share them. Empty: of none.

    Attributes:
        neighbourhoods: of every expert, in order.
        row_types: edge type of every row of the weights of every expert, (O,) each.
        layout: order of the columns of a state.
    """

    def __init__(
        self,
        graph: LatticeGraph,
        edge_sets: Sequence[EdgeSet],
        heads: Sequence[int],
        backend: Backend,
        cells: Cells,
        by_edge: Sequence[bool] = (),
    ) -> None:
        self.backend = backend
        self.cells = cells
        self.layout = Layout(graph, cells, samples_inner=backend in ("spmm", "scatter"))
        self.stencils = summed_stencils(graph, edge_sets)
        self.neighbourhoods: list[Neighbourhood] = []
        self.by_edge = tuple(by_edge) or (False,) * len(edge_sets)
        self.row_types: list[Tensor] = []
        for edges, count, apart in zip(edge_sets, heads, self.by_edge, strict=True):
            self.neighbourhoods.append(
                make_neighbourhood(graph, edges, count, backend, cells, apart)
            )
            self.row_types.append(graph.offset_type_O[weight_rows(graph, edges, apart).offset_O])

    def for_one_sample(self, graph: LatticeGraph, edge_sets: Sequence[EdgeSet]) -> Aggregation:
        """The same edges with the backend that is fastest for a single sample.

        Where a backend was asked for that is not one of those compared, or edges have weights of
        their own, it is this object itself.

        Args:
            graph: the lattice.
            edge_sets: edge types of every expert.
        """
        heads = [neighbourhood.heads for neighbourhood in self.neighbourhoods]
        compared = self.backend == "spmm" and not any(self.by_edge)
        if not compared or cheapest(self.stencils, max(heads), batch=1) == "spmm":
            return self
        return Aggregation(graph, edge_sets, heads, "fft", self.cells)

    def own(self, x_CM: Tensor) -> Tensor:
        """The states of the cells that sums are made for: all of them."""
        return x_CM

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move index and attribute tensors to ``device`` (in place); attributes to ``dtype``."""
        for neighbourhood in self.neighbourhoods:
            neighbourhood.to(device, dtype)
        self.layout.to(device)

    def keep_types(self, index: int, weight_OH: Tensor, silent: Collection[EdgeType]) -> Tensor:
        """Weights of one expert's edges, 0 for the edge types in ``silent``.

        Args:
            index: of the expert.
            weight_OH: its weights.
            silent: edge types without effect.
        """
        types_O = self.row_types[index]
        kept_O = ~torch.isin(types_O, types_O.new_tensor([int(kind) for kind in silent]))
        return weight_OH * kept_O.to(weight_OH)[:, None]


def edge_sets(settings: ModelSettings) -> list[EdgeSet]:
    """Edge types of every expert of ``model.experts``."""
    return [tuple(EdgeType[name.upper()] for name in expert.edges) for expert in settings.experts]


def has_own_edges(settings: ModelSettings) -> list[bool]:
    """Whether every edge has weights of its own, of every expert of ``model.experts``."""
    options = [expert.message_options(settings.messages) for expert in settings.experts]
    return [option["weights"] == "edge" for option in options]


@dataclass(frozen=True)
class WeightRows:
    """What the rows of the attributes and weights of an edge set stand for.

    Attributes:
        offset_O: offset of every row, by its number in the lattice.
        edge_O: edge of every row, by its number in the lattice; None where a row is an offset,
            which all edges of that offset share.
    """

    offset_O: Tensor
    edge_O: Tensor | None


def weight_rows(
    graph: LatticeGraph, edges: Sequence[EdgeType], by_edge: bool = False
) -> WeightRows:
    """Rows of the weights of the edges of some types.

    Args:
        graph: the lattice.
        edges: edge types.
        by_edge: every edge has a row of its own.
    """
    chosen_O = _chosen(graph, edges)
    offset_O = chosen_O.nonzero().flatten()
    if not by_edge:
        return WeightRows(offset_O, None)
    edge_O = chosen_O[graph.edge_offset_E].nonzero().flatten()
    return WeightRows(graph.edge_offset_E[edge_O], edge_O)


def resolve_backend(
    settings: ModelSettings, graph: LatticeGraph, batch: int, device: str, whole: bool = True
) -> Backend:
    """What ``model.aggregation`` means for this lattice.

    Args:
        settings: names a backend, or ``auto``.
        graph: the lattice.
        batch: samples of a typical rollout; decides speed only.
        device: ``cpu`` or ``cuda``.
        whole: one process holds the whole lattice; slabs support convolution only.

    Raises:
        ConfigError: slabs with another backend.
    """
    if not whole:
        if settings.aggregation not in ("auto", "fft"):
            raise ConfigError(
                "model.aggregation",
                f"expected auto or fft for run.parallel 'slabs', got {settings.aggregation}",
                "Set it to auto",
            )
        return "fft"
    if any(has_own_edges(settings)):
        if settings.aggregation == "fft":
            raise ConfigError(
                "model.aggregation",
                "expected auto, spmm or scatter with weights 'edge', which are no convolution, "
                "got fft",
                "Set it to auto, or weights to network or table",
            )
        return "scatter" if settings.aggregation == "scatter" else "spmm"
    if settings.aggregation != "auto":
        return settings.aggregation
    stencils = summed_stencils(graph, edge_sets(settings))
    return cheapest(stencils, settings.state_channels, batch, device)


def summed_stencils(graph: LatticeGraph, edge_sets: Sequence[EdgeSet]) -> list[Stencil]:
    """The offsets of every edge set that has to be summed.

    An edge set that joins every cell to itself alone is a map of the state and needs no sum.
    """
    stencils = (_stencil(graph, _chosen(graph, edges)) for edges in edge_sets)
    return [stencil for stencil in stencils if not stencil.is_self]


def make_neighbourhood(
    graph: LatticeGraph,
    edges: Sequence[EdgeType],
    heads: int,
    backend: Backend,
    cells: Cells | None = None,
    by_edge: bool = False,
) -> Neighbourhood:
    """The edges of some types as one neighbourhood; edges are built only where they are stored.

    Args:
        graph: the lattice.
        edges: edge types.
        heads: H, weights per offset.
        backend: how to sum.
        cells: which cells this process holds; None: all.
        by_edge: every edge has weights of its own; needs a backend that stores edges.
    """
    cells = Cells(graph) if cells is None else cells
    chosen_O = _chosen(graph, edges)
    attr_O4 = graph.offset_attr_O4[chosen_O]
    stencil = _stencil(graph, chosen_O)
    if stencil.is_self and not by_edge:
        return SelfNeighbourhood(attr_O4, cells.num_cells, heads)
    if isinstance(cells, SlabCells):
        return SlabNeighbourhood(stencil, attr_O4, heads, cells)
    if backend == "fft":
        return GridNeighbourhood(stencil, attr_O4, heads)
    convolution = ConvolutionNeighbourhood(stencil, attr_O4, heads)
    # A kernel with more places than there are cells is more work than a matrix of all pairs.
    few = graph.num_cells <= min(convolution.products, MOST_CELLS)
    if backend == "conv3d" and not (by_edge or few):
        return convolution
    stored = _stored(graph, weight_rows(graph, edges, by_edge), heads, backend == "conv3d")
    if backend == "conv3d":
        return PairNeighbourhood(stored)
    if backend == "scatter":
        return stored
    return SparseNeighbourhood(stored, None if by_edge else stencil)


def _stored(
    graph: LatticeGraph, rows: WeightRows, heads: int, row_major: bool
) -> EdgeNeighbourhood:
    """The edges of ``rows`` one by one, their cells by number or by row-major place."""
    kept_E, row_E = rows.edge_O, None
    if kept_E is None:
        position_O = torch.full((len(graph.offsets_O3),), -1)
        position_O[rows.offset_O] = torch.arange(len(rows.offset_O))
        of_edge_E = position_O[graph.edge_offset_E]
        kept_E = (of_edge_E >= 0).nonzero().flatten()
        row_E = of_edge_E[kept_E]
    edge_index_2E = graph.edge_index_2E[:, kept_E]
    if row_major:
        edge_index_2E = torch.argsort(graph.number_N)[edge_index_2E]
    attr_O4 = graph.offset_attr_O4[rows.offset_O]
    return EdgeNeighbourhood(edge_index_2E, attr_O4, graph.num_cells, heads, row_E)


def _chosen(graph: LatticeGraph, edges: Sequence[EdgeType]) -> Tensor:
    return torch.isin(graph.offset_type_O, torch.tensor([int(kind) for kind in edges]))


def _stencil(graph: LatticeGraph, chosen_O: Tensor) -> Stencil:
    settings = graph.settings
    periodic = settings.boundary == "periodic"
    return Stencil(graph.offsets_O3[chosen_O], settings.dimensions, periodic)
