"""Sums over neighbours: one interface, several exact backends."""

from latticegraph.aggregation.neighbourhood import BACKENDS, Backend, Neighbourhood
from latticegraph.aggregation.spmm import SparsePattern, sparse_neighbour_sum

__all__ = ["BACKENDS", "Backend", "Neighbourhood", "SparsePattern", "sparse_neighbour_sum"]
