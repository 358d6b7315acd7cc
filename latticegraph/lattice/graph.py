"""The static, typed graph of a lattice.

Shapes: N cells, E edges, O offsets, S cells of a surface.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import torch
from torch_geometric.data import Data

from latticegraph.config import LatticeSettings
from latticegraph.lattice.cache import load_edges, save_edges
from latticegraph.lattice.checks import check_types
from latticegraph.lattice.counts import count_edges
from latticegraph.lattice.crossing import crossing_steps
from latticegraph.lattice.describe import describe_lattice
from latticegraph.lattice.edge_list import EdgeList
from latticegraph.lattice.edge_types import EdgeType
from latticegraph.lattice.numbering import Numbering, number_cells
from latticegraph.lattice.offset_builder import build_by_offsets
from latticegraph.lattice.offsets import lattice_offsets
from latticegraph.lattice.surfaces import surface_cells
from latticegraph.lattice.torch_cluster_builder import build_by_torch_cluster


class LatticeGraph:
    """Cells, typed edges and surfaces of one lattice; never changed once made.

    Use :meth:`build`. Cells and edges are made when first asked for: sums over neighbours that work
    on the offsets alone never ask for edges, and a description asks for neither.

    Args:
        settings: the lattice.
        edges: edges that a builder made from these settings; None: made when first asked for.

    Attributes:
        settings: the lattice's settings.
        num_cells: N.
        offsets_O3: source minus target of every distinct offset present, in cells, int64.
        offset_type_O: edge type of each offset, int64.
        offset_attr_O4: distance / max_radius and unit direction target to source, float32.
        crossing_steps: steps after which the input has reached every output cell.

    Example:
        >>> graph = LatticeGraph.build(LatticeSettings())
        >>> graph.num_cells, graph.crossing_steps, graph.input_cells.numel()
        (512, 7, 64)
    """

    def __init__(self, settings: LatticeSettings, edges: EdgeList | None = None) -> None:
        offsets = lattice_offsets(settings)
        steps = crossing_steps(settings)
        assert steps is not None, "a lattice without empty types crosses"
        self.settings = settings
        self.num_cells = math.prod(settings.dimensions)
        self._edges = edges
        self.offsets_O3 = torch.from_numpy(offsets.offset_O3.copy())
        self.offset_type_O = torch.from_numpy(offsets.type_O.copy())
        self.offset_attr_O4 = torch.from_numpy(offsets.attr_O4.copy())
        self.crossing_steps: int = steps

    @classmethod
    def build(cls, settings: LatticeSettings) -> LatticeGraph:
        """Check the settings and prepare everything but the edges.

        Args:
            settings: the lattice.

        Raises:
            GraphError: an edge type is empty.
        """
        check_types(settings)
        return cls(settings)

    @cached_property
    def _numbering(self) -> Numbering:
        return number_cells(self.settings)

    @cached_property
    def coordinates_N3(self) -> torch.Tensor:
        """Cell coordinates by cell number, int64; made when first asked for. Shapes: [N, 3]."""
        return torch.from_numpy(self._numbering.coordinates_N3)

    @cached_property
    def number_N(self) -> torch.Tensor:
        """Cell number by row-major index, int64; made when first asked for. Shapes: [N]."""
        return torch.from_numpy(self._numbering.number_N)

    @cached_property
    def depth_N(self) -> torch.Tensor:
        """Cells between each cell and the front plane along the depth axis, int64. Shapes: [N]."""
        return self.coordinates_N3[:, self.settings.axis].contiguous()

    @cached_property
    def _surfaces(self) -> tuple[torch.Tensor, torch.Tensor]:
        written, read = surface_cells(self.settings, self._numbering)
        return torch.from_numpy(written), torch.from_numpy(read)

    @property
    def input_cells(self) -> torch.Tensor:
        """Cell numbers of the input surface, in row-major order of coordinates. Shapes: [S]."""
        return self._surfaces[0]

    @property
    def output_cells(self) -> torch.Tensor:
        """Cell numbers of the output surface, in row-major order of coordinates. Shapes: [S]."""
        return self._surfaces[1]

    @property
    def edges(self) -> EdgeList:
        """All edges, built now or read from ``settings.cache_dir`` where that is set.

        Raises:
            GraphError: the wanted builder is not installed.
            CacheError: the cached file is damaged or foreign, or the folder cannot be written.
        """
        if self._edges is None:
            folder = self.settings.cache_dir
            edges = None if folder is None else load_edges(folder, self.settings)
            if edges is None:
                builders = {"offsets": build_by_offsets, "torch_cluster": build_by_torch_cluster}
                edges = builders[self.settings.builder](self.settings)
                if folder is not None:
                    save_edges(folder, self.settings, edges)
            self._edges = edges
        return self._edges

    @property
    def num_edges(self) -> int:
        """E, self-edges included; counted without building them."""
        return sum(count_edges(self.settings).values())

    @property
    def edge_index_2E(self) -> torch.Tensor:
        """Row 0 source, row 1 target, sorted by target then source, int64."""
        return self.edges.edge_index_2E

    @property
    def edge_offset_E(self) -> torch.Tensor:
        """Each edge's row in the offsets, int64."""
        return self.edges.edge_offset_E

    @cached_property
    def edge_type_E(self) -> torch.Tensor:
        """:class:`EdgeType` of each edge, int64; made when first asked for. Shapes: [E]."""
        return self.offset_type_O[self.edge_offset_E]

    @cached_property
    def edge_attr_E4(self) -> torch.Tensor:
        """Distance / max_radius and unit direction from target to source, per edge.

        Made when first asked for; float32; the direction of a self-edge is zero. Shapes: [E, 4].
        """
        return self.offset_attr_O4[self.edge_offset_E]

    def edges_of(self, edge_type: EdgeType) -> torch.Tensor:
        """Positions in ``edge_index_2E`` of the edges of one type, ascending, int64."""
        return torch.nonzero(self.edge_type_E == int(edge_type)).flatten()

    def to_data(self) -> Data:
        """The graph as PyG data: edge_index, edge_type, edge_attr, pos (float32, in cells)."""
        return Data(
            edge_index=self.edge_index_2E,
            edge_type=self.edge_type_E,
            edge_attr=self.edge_attr_E4,
            pos=self.coordinates_N3.to(torch.float32),
            num_nodes=self.num_cells,
        )

    def describe(self) -> dict[str, Any]:
        """Counts, degrees, reach, memory and warnings; see :func:`describe_lattice`."""
        return describe_lattice(self.settings)
