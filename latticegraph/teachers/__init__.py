"""Teachers: frozen maps from text to embeddings, and the cache of what they gave."""

from latticegraph.progress import ProgressCallback
from latticegraph.teachers.build import build_teacher
from latticegraph.teachers.cache import EmbeddingCache
from latticegraph.teachers.protocol import Embeddings, Teacher, TokenCounter

__all__ = [
    "EmbeddingCache",
    "Embeddings",
    "ProgressCallback",
    "Teacher",
    "TokenCounter",
    "build_teacher",
]
