"""Text: built-in corpora, readers, tasks and splits without leakage."""

from latticegraph.data.load import load_file, load_source
from latticegraph.data.rows import Task
from latticegraph.data.sample import Sample, text_key
from latticegraph.data.splits import Splits, load_samples

__all__ = ["Sample", "Splits", "Task", "load_file", "load_samples", "load_source", "text_key"]
