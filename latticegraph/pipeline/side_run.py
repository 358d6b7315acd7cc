"""A second training beside a run: on its text, in a folder below its own."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from latticegraph.config import Config
from latticegraph.distributed import ALONE
from latticegraph.errors import CheckpointError
from latticegraph.pipeline.fit_run import FittedRun
from latticegraph.pipeline.prepare import build_model
from latticegraph.training import EmbeddingTrainer, TrainingResult
from latticegraph.training.checkpoint import read_checkpoint
from latticegraph.training.checks import check_same_config
from latticegraph.training.machine import training_session
from latticegraph.training.run_folder import RunFolder

_log = logging.getLogger(__name__)


def train_beside(
    run: FittedRun, config: Config, folder: Path, *, divided: bool = True
) -> TrainingResult:
    """Train another model on the text of a run, or continue where an earlier call was interrupted.

    A folder that holds checkpoints of another configuration is emptied first.

    Args:
        run: its text, embeddings and processes are used.
        config: of the other model.
        folder: receives its checkpoints and metrics.
        divided: with ``run.parallel`` slabs each process holds a part of the lattice; False where
            the model has none.

    Raises:
        TrainingError: when the loss is no longer finite.
    """
    prepared, processes = run.prepared, run.processes
    resumed = processes.from_writer(processes.is_writer and _continues(config, folder))
    with training_session(config.run, prepared.device, config.model.init.reproducible):
        graph, student = build_model(config, prepared.device, processes if divided else ALONE)
        trainer = EmbeddingTrainer(
            config,
            student,
            graph,
            prepared.train,
            prepared.validation,
            folder,
            cache_hit_rate=prepared.hit_rate,
            processes=processes,
            teacher=prepared.identity,
            texts=prepared.texts,
        )
        return trainer.fit(resume_from=RunFolder(folder).last if resumed else None)


def _continues(config: Config, folder: Path) -> bool:
    """Whether ``folder`` holds a checkpoint of this very configuration; else it is deleted."""
    last = RunFolder(folder).last
    if last.is_file():
        try:
            check_same_config(last, read_checkpoint(last).config, config)
        except CheckpointError:
            _log.info("%s is of another configuration, training it again", folder)
        else:
            return True
    if folder.exists():
        shutil.rmtree(folder)
    return False
