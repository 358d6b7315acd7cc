"""The neighbourhoods of the three experts on a lattice, for one way to sum over neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from latticegraph.aggregation import (
    Backend,
    EdgeNeighbourhood,
    GridNeighbourhood,
    Neighbourhood,
    SelfNeighbourhood,
    SlabNeighbourhood,
    SparseNeighbourhood,
    Stencil,
)
from latticegraph.aggregation.cost import cheapest
from latticegraph.config.model import ModelSettings
from latticegraph.errors import ConfigError
from latticegraph.lattice import EdgeType, LatticeGraph


def resolve_backend(
    settings: ModelSettings, graph: LatticeGraph, batch: int, device: str
) -> Backend:
    """What ``model.aggregation`` means for this lattice.

    Args:
        settings: names a backend, or ``auto``.
        graph: the lattice.
        batch: samples that a rollout will usually have.
        device: ``cpu`` or ``cuda``.

    Raises:
        ConfigError: slabs are summed by convolution only.
    """
    if graph.slab is not None:
        if settings.aggregation not in ("auto", "fft"):
            raise ConfigError(
                "model.aggregation",
                f"expected auto or fft for run.parallel 'slabs', got {settings.aggregation}",
                "Set it to auto",
            )
        return "fft"
    if settings.aggregation != "auto":
        return settings.aggregation
    return cheapest(summed_stencils(graph), settings.state_channels, batch, device)


def summed_stencils(graph: LatticeGraph) -> list[Stencil]:
    """The offsets of each edge type that is summed at all.

    A type that joins every cell to itself alone is a map of the state.
    """
    stencils = (_stencil(graph, graph.offset_type_O == int(kind)) for kind in EdgeType)
    return [stencil for stencil in stencils if not stencil.is_self]


def _stencil(graph: LatticeGraph, chosen_O: Tensor) -> Stencil:
    settings = graph.settings
    periodic = settings.boundary == "periodic"
    return Stencil(graph.offsets_O3[chosen_O], settings.dimensions, periodic)


def make_neighbourhoods(graph: LatticeGraph, heads: int, backend: Backend) -> list[Neighbourhood]:
    """One neighbourhood per edge type, in the order of :class:`EdgeType`.

    Edges are built only for backends that store them.
    """
    return [make_neighbourhood(graph, [kind], heads, backend) for kind in EdgeType]


def make_neighbourhood(
    graph: LatticeGraph, kinds: list[EdgeType], heads: int, backend: Backend
) -> Neighbourhood:
    """The edges of some types as one neighbourhood.

    Args:
        graph: the lattice.
        kinds: the types.
        heads: H, weights per offset.
        backend: how to sum.
    """
    wanted = torch.tensor([int(kind) for kind in kinds])
    chosen_O = torch.isin(graph.offset_type_O, wanted)
    attr_O4 = graph.offset_attr_O4[chosen_O]
    stencil = _stencil(graph, chosen_O)
    if stencil.is_self:
        cells = graph.num_cells if graph.slab is None else graph.slab.num_cells
        return SelfNeighbourhood(attr_O4, cells, heads)
    if graph.slab is not None:
        return SlabNeighbourhood(stencil, attr_O4, heads, graph.slab)
    if backend == "fft":
        return GridNeighbourhood(stencil, attr_O4, heads)
    position_O = torch.full((chosen_O.numel(),), -1)
    position_O[chosen_O] = torch.arange(attr_O4.shape[0])
    offset_E = position_O[graph.edge_offset_E]
    kept_E = (offset_E >= 0).nonzero().flatten()
    edges = EdgeNeighbourhood(
        graph.edge_index_2E[:, kept_E], attr_O4, graph.num_cells, heads, offset_E[kept_E]
    )
    return SparseNeighbourhood(edges, stencil) if backend == "spmm" else edges
