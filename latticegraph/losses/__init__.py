"""Loss terms: one per file, each of order 1 for a model that has learned nothing."""

from latticegraph.losses.combined import CombinedLoss
from latticegraph.losses.diversity import DiversityLoss
from latticegraph.losses.dynamics import DynamicsLoss
from latticegraph.losses.emergence import EmergenceLoss
from latticegraph.losses.reconstruction import ReconstructionLoss
from latticegraph.losses.similarity import SimilarityLoss, StructureLoss
from latticegraph.losses.spatial import SpatialLoss

__all__ = [
    "CombinedLoss",
    "DiversityLoss",
    "DynamicsLoss",
    "EmergenceLoss",
    "ReconstructionLoss",
    "SimilarityLoss",
    "SpatialLoss",
    "StructureLoss",
]
