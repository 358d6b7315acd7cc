"""Errors a user can cause: each says where, what was found, and what to do next."""

from __future__ import annotations


class LatticeGraphError(ValueError):
    """Base of all errors caused by a setting, a file or the data.

    Args:
        where: the dotted key (``training.batch_size``) or the file and line (``talk.jsonl:17``).
        problem: what was expected and what was found.
        action: what to do next, one sentence.
    """

    def __init__(self, where: str, problem: str, action: str) -> None:
        self.where = where
        self.problem = problem
        self.action = action
        super().__init__(f"{where}: {problem.rstrip('.')}. {action.rstrip('.')}.")


class ConfigError(LatticeGraphError):
    """A setting is unknown, missing, of the wrong type, out of range, or at odds with another."""


class GraphError(LatticeGraphError):
    """The lattice described by the settings cannot carry a signal or cannot be built."""


class DataError(LatticeGraphError):
    """A text file is unreadable, malformed, empty or too small."""


class TeacherError(LatticeGraphError):
    """A teacher cannot be loaded, or does not match the settings."""


class CacheError(LatticeGraphError):
    """An on-disk cache belongs to something else, is damaged, or cannot be written."""


class CheckpointError(LatticeGraphError):
    """A checkpoint is missing, damaged, foreign, or belongs to another configuration."""


class TrainingError(LatticeGraphError):
    """Training cannot go on, for instance because the loss is no longer a finite number."""
