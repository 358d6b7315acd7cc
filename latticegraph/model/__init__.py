"""The student model: projections, mapper, experts, gating and dynamics."""

from latticegraph.model.distant_expert import DistantExpert
from latticegraph.model.expert import Expert
from latticegraph.model.extractor import LatticeToEmbeddingExtractor
from latticegraph.model.functional_expert import FunctionalExpert
from latticegraph.model.gating import GatingNetwork
from latticegraph.model.lattice3d import Lattice3D
from latticegraph.model.local_expert import LocalExpert
from latticegraph.model.mapper import EmbeddingToLatticeMapper
from latticegraph.model.output import StudentOutput
from latticegraph.model.rollout import Rollout
from latticegraph.model.student import Student
from latticegraph.model.transformer import EmbeddingTransformer
from latticegraph.model.volume_init import VolumeStateInitializer

__all__ = [
    "DistantExpert",
    "EmbeddingToLatticeMapper",
    "EmbeddingTransformer",
    "Expert",
    "FunctionalExpert",
    "GatingNetwork",
    "Lattice3D",
    "LatticeToEmbeddingExtractor",
    "LocalExpert",
    "Rollout",
    "Student",
    "StudentOutput",
    "VolumeStateInitializer",
]
