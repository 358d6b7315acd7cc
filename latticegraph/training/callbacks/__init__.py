"""What happens besides the updates: logs, validation, early stopping and checkpoints."""

from latticegraph.training.callbacks.checkpointing import Checkpointing
from latticegraph.training.callbacks.early_stopping import EarlyStopping
from latticegraph.training.callbacks.logging import Logging
from latticegraph.training.callbacks.validation import Validation, Validator

__all__ = ["Checkpointing", "EarlyStopping", "Logging", "Validation", "Validator"]
