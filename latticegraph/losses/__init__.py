"""Loss terms, one per file, scaled so that an untrained model scores about 1, and their sum."""

from latticegraph.losses.build import build_objective
from latticegraph.losses.contrastive import ContrastiveLoss
from latticegraph.losses.distillation import DistillationLoss
from latticegraph.losses.diversity import DiversityLoss
from latticegraph.losses.dynamics import DynamicsLoss
from latticegraph.losses.emergence import EmergenceLoss
from latticegraph.losses.gates import GateBalanceLoss, GateZLoss
from latticegraph.losses.learned_weighting import GradNormWeighting, UncertaintyWeighting
from latticegraph.losses.objective import Objective
from latticegraph.losses.prefixes import PrefixLoss
from latticegraph.losses.reconstruction import ReconstructionLoss
from latticegraph.losses.similarity import SimilarityLoss, StructureLoss
from latticegraph.losses.sparsity import SparsityLoss
from latticegraph.losses.spatial import SpatialLoss
from latticegraph.losses.term import LossContext, LossTerm
from latticegraph.losses.triplet import TripletLoss
from latticegraph.losses.weighting import FixedWeighting, SoftmaxWeighting, Weighting

__all__ = [
    "ContrastiveLoss",
    "DistillationLoss",
    "DiversityLoss",
    "DynamicsLoss",
    "EmergenceLoss",
    "FixedWeighting",
    "GateBalanceLoss",
    "GateZLoss",
    "GradNormWeighting",
    "LossContext",
    "LossTerm",
    "Objective",
    "PrefixLoss",
    "ReconstructionLoss",
    "SimilarityLoss",
    "SoftmaxWeighting",
    "SparsityLoss",
    "SpatialLoss",
    "StructureLoss",
    "TripletLoss",
    "UncertaintyWeighting",
    "Weighting",
    "build_objective",
]
