"""Training: phases, updates, checkpoints that resume bit for bit, and logs."""

from latticegraph.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from latticegraph.training.load import load_checkpoint_model
from latticegraph.training.machine import resolve_device
from latticegraph.training.pairs import EmbeddingPairs
from latticegraph.training.plan import TrainingPlan, learning_rate
from latticegraph.training.progress import Progress, TrainingResult
from latticegraph.training.run_folder import RunFolder, resolve_resume
from latticegraph.training.run_log import MACHINE_FIELDS
from latticegraph.training.trainer import EmbeddingTrainer

__all__ = [
    "MACHINE_FIELDS",
    "Checkpoint",
    "EmbeddingPairs",
    "EmbeddingTrainer",
    "Progress",
    "RunFolder",
    "TrainingPlan",
    "TrainingResult",
    "learning_rate",
    "load_checkpoint_model",
    "read_checkpoint",
    "resolve_device",
    "resolve_resume",
    "write_checkpoint",
]
