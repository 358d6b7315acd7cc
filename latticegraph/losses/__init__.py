"""Loss terms, one per file, scaled so that an untrained model scores about 1, and their sum."""

from latticegraph.losses.build import build_objective
from latticegraph.losses.diversity import DiversityLoss
from latticegraph.losses.dynamics import DynamicsLoss
from latticegraph.losses.emergence import EmergenceLoss
from latticegraph.losses.gates import GateBalanceLoss, GateZLoss
from latticegraph.losses.objective import Objective
from latticegraph.losses.reconstruction import ReconstructionLoss
from latticegraph.losses.similarity import SimilarityLoss, StructureLoss
from latticegraph.losses.spatial import SpatialLoss
from latticegraph.losses.term import LossContext, LossTerm

__all__ = [
    "DiversityLoss",
    "DynamicsLoss",
    "EmergenceLoss",
    "GateBalanceLoss",
    "GateZLoss",
    "LossContext",
    "LossTerm",
    "Objective",
    "ReconstructionLoss",
    "SimilarityLoss",
    "SpatialLoss",
    "StructureLoss",
    "build_objective",
]
