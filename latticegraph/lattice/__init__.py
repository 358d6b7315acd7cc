"""Geometry of the cube of cells: offsets, edges, surfaces, reach, and the typed graph."""

from latticegraph.lattice.cache import load_edges, save_edges
from latticegraph.lattice.checks import check_reach, check_stopping, check_types
from latticegraph.lattice.counts import count_degrees, count_edges
from latticegraph.lattice.crossing import crossing_steps, reach
from latticegraph.lattice.describe import describe_lattice
from latticegraph.lattice.edge_list import EdgeList
from latticegraph.lattice.edge_types import EdgeType
from latticegraph.lattice.graph import LatticeGraph
from latticegraph.lattice.numbering import Numbering, number_cells
from latticegraph.lattice.offset_builder import build_by_offsets
from latticegraph.lattice.offsets import Offsets, lattice_offsets
from latticegraph.lattice.torch_cluster_builder import build_by_torch_cluster

__all__ = [
    "EdgeList",
    "EdgeType",
    "LatticeGraph",
    "Numbering",
    "Offsets",
    "build_by_offsets",
    "build_by_torch_cluster",
    "check_reach",
    "check_stopping",
    "check_types",
    "count_degrees",
    "count_edges",
    "crossing_steps",
    "describe_lattice",
    "lattice_offsets",
    "load_edges",
    "number_cells",
    "reach",
    "save_edges",
]
