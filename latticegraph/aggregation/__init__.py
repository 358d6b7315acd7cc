"""Sums over neighbours: one interface, several exact backends."""

from latticegraph.aggregation.aggregation import Aggregation, make_neighbourhood, resolve_backend
from latticegraph.aggregation.cells import Cells, SelectedCells, SlabCells, divide_cells
from latticegraph.aggregation.cone_step import ConeStep
from latticegraph.aggregation.convolution import (
    MOST_CELLS,
    ConvolutionNeighbourhood,
    PairNeighbourhood,
)
from latticegraph.aggregation.edges import EdgeNeighbourhood, SparseNeighbourhood
from latticegraph.aggregation.fourier import GridNeighbourhood
from latticegraph.aggregation.layout import CellMaps, Layout
from latticegraph.aggregation.light_cone import LightCone
from latticegraph.aggregation.memory import MemoryPlan
from latticegraph.aggregation.neighbourhood import (
    BACKENDS,
    Backend,
    FastNeighbourhood,
    Neighbourhood,
    PreparedWeights,
    SelfNeighbourhood,
)
from latticegraph.aggregation.slab_neighbourhood import SlabNeighbourhood
from latticegraph.aggregation.stencil import Stencil

__all__ = [
    "BACKENDS",
    "MOST_CELLS",
    "Aggregation",
    "Backend",
    "CellMaps",
    "Cells",
    "ConeStep",
    "ConvolutionNeighbourhood",
    "EdgeNeighbourhood",
    "FastNeighbourhood",
    "GridNeighbourhood",
    "Layout",
    "LightCone",
    "MemoryPlan",
    "Neighbourhood",
    "PairNeighbourhood",
    "PreparedWeights",
    "SelectedCells",
    "SelfNeighbourhood",
    "SlabCells",
    "SlabNeighbourhood",
    "SparseNeighbourhood",
    "Stencil",
    "divide_cells",
    "make_neighbourhood",
    "resolve_backend",
]
