"""The student: projections, mapper, volume initialiser, dynamics and extractor."""

from latticegraph.dynamics import (
    DistantExpert,
    Expert,
    FunctionalExpert,
    GatingNetwork,
    Lattice3D,
    LocalExpert,
    Rollout,
)
from latticegraph.model.build import build_dynamics, build_student
from latticegraph.model.extractor import LatticeToEmbeddingExtractor
from latticegraph.model.mapper import EmbeddingToLatticeMapper
from latticegraph.model.output import StudentOutput
from latticegraph.model.student import Parts, Student
from latticegraph.model.transformer import EmbeddingTransformer, Projection
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
    "Parts",
    "Projection",
    "Rollout",
    "Student",
    "StudentOutput",
    "VolumeStateInitializer",
    "build_dynamics",
    "build_student",
]
