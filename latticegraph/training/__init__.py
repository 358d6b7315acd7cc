"""Training: the loop, its callbacks, and checkpoints that resume bit for bit."""

from latticegraph.training.batches import Batch, EmbeddingPairs, Sampler
from latticegraph.training.callbacks.run_log import MACHINE_FIELDS
from latticegraph.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from latticegraph.training.load import load_checkpoint_model
from latticegraph.training.machine import resolve_device
from latticegraph.training.plan import TrainingPlan, learning_rate
from latticegraph.training.progress import TrainingProgress, TrainingResult
from latticegraph.training.run_folder import RunFolder, resolve_resume
from latticegraph.training.state import Callback, TrainingState, ValidationResult
from latticegraph.training.trainer import EmbeddingTrainer, training_objective

__all__ = [
    "MACHINE_FIELDS",
    "Batch",
    "Callback",
    "Checkpoint",
    "EmbeddingPairs",
    "EmbeddingTrainer",
    "RunFolder",
    "Sampler",
    "TrainingPlan",
    "TrainingProgress",
    "TrainingResult",
    "TrainingState",
    "ValidationResult",
    "learning_rate",
    "load_checkpoint_model",
    "read_checkpoint",
    "resolve_device",
    "resolve_resume",
    "training_objective",
    "write_checkpoint",
]
