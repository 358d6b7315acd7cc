"""Whole jobs: train a cube, evaluate a run, describe a lattice."""

from latticegraph.pipeline.check_run import dry_run
from latticegraph.pipeline.compare_runs import compare
from latticegraph.pipeline.describe_run import describe
from latticegraph.pipeline.evaluate_run import evaluate
from latticegraph.pipeline.fit_run import FittedRun, fit
from latticegraph.pipeline.report_run import report
from latticegraph.pipeline.train_run import train

__all__ = ["FittedRun", "compare", "describe", "dry_run", "evaluate", "fit", "report", "train"]
