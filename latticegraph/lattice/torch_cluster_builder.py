"""Build the same edges with ``torch_cluster.radius_graph``: an independent reference.

Shapes: N cells, P found pairs, E edges, 3 axes.
"""

from __future__ import annotations

import importlib
import math

import torch

from latticegraph.config import LatticeSettings
from latticegraph.errors import GraphError
from latticegraph.lattice.edge_list import EdgeList
from latticegraph.lattice.numbering import number_cells
from latticegraph.lattice.offsets import lattice_offsets, squared_limits


def build_by_torch_cluster(settings: LatticeSettings) -> EdgeList:
    """Search neighbours with torch-cluster, then decide each pair by its integer offset.

    ``radius_graph`` leaves out d == r and keeps 32 neighbours unless told otherwise. Squared
    distances are integers, so a radius of sqrt(limit + 1/2) has every wanted pair strictly inside
    and none near its rim; the number of offsets bounds the neighbours of a cell.

    Args:
        settings: open boundary, any numbering.

    Raises:
        GraphError: torch-cluster is not installed, or the boundary is periodic.
    """
    if settings.boundary != "open":
        raise GraphError(
            "lattice.boundary",
            f"expected 'open' for the torch_cluster builder, got '{settings.boundary}'",
            "Set lattice.builder to offsets",
        )
    try:
        torch_cluster = importlib.import_module("torch_cluster")
    except ImportError as error:
        raise GraphError(
            "lattice.builder",
            f"expected an installed torch_cluster for builder 'torch_cluster', got: {error}",
            "Install latticegraph[pyg-ext], or set lattice.builder to offsets",
        ) from error
    offsets = lattice_offsets(settings)
    numbering = number_cells(settings)
    coordinates_N3 = torch.from_numpy(numbering.coordinates_N3)
    found_2P = torch_cluster.radius_graph(
        coordinates_N3.to(torch.float32),
        r=math.sqrt(squared_limits(settings)[-1] + 0.5),
        loop=True,
        max_num_neighbors=len(offsets.offset_O3) + 1,
    )
    step_P3 = coordinates_N3[found_2P[0]] - coordinates_N3[found_2P[1]]
    offset_P = _offset_rows(torch.from_numpy(offsets.offset_O3), step_P3)
    kept_P = offset_P >= 0
    edge_index_2E, edge_offset_E = found_2P[:, kept_P], offset_P[kept_P]
    order_E = torch.argsort(edge_index_2E[1] * len(coordinates_N3) + edge_index_2E[0])
    return EdgeList(edge_index_2E[:, order_E].contiguous(), edge_offset_E[order_E])


def _offset_rows(offset_O3: torch.Tensor, step_P3: torch.Tensor) -> torch.Tensor:
    """Row of each step among the offsets, -1 where it is none of them."""
    if len(offset_O3) == 0:
        return torch.full((len(step_P3),), -1, dtype=torch.int64)
    both_3 = torch.cat([offset_O3, step_P3]).abs().amax(dim=0)
    table = torch.full(tuple((2 * both_3 + 1).tolist()), -1, dtype=torch.int64)
    table[tuple((offset_O3 + both_3).T)] = torch.arange(len(offset_O3))
    return table[tuple((step_P3 + both_3).T)]
