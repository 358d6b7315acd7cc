"""Whole jobs: train a cube, evaluate a run, describe a lattice."""

from latticegraph.pipeline.describe_run import describe
from latticegraph.pipeline.dry_run import dry_run
from latticegraph.pipeline.evaluate_run import evaluate
from latticegraph.pipeline.train_run import train

__all__ = ["describe", "dry_run", "evaluate", "train"]
