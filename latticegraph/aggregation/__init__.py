"""Sums over neighbours: one interface, several exact backends."""

from latticegraph.aggregation.edges import EdgeNeighbourhood, SparseNeighbourhood
from latticegraph.aggregation.fourier import GridNeighbourhood
from latticegraph.aggregation.neighbourhood import (
    BACKENDS,
    Backend,
    FastNeighbourhood,
    Neighbourhood,
    SelfNeighbourhood,
    Sums,
)
from latticegraph.aggregation.slab import SlabNeighbourhood
from latticegraph.aggregation.stencil import Stencil

__all__ = [
    "BACKENDS",
    "Backend",
    "EdgeNeighbourhood",
    "FastNeighbourhood",
    "GridNeighbourhood",
    "Neighbourhood",
    "SelfNeighbourhood",
    "SlabNeighbourhood",
    "SparseNeighbourhood",
    "Stencil",
    "Sums",
]
