"""The controls: a model whose dynamics are switched off, and one that was trained without them."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from latticegraph.config import Config
from latticegraph.dynamics import Identity
from latticegraph.errors import CheckpointError
from latticegraph.hub import LatticeModel
from latticegraph.pipeline.fit_run import FittedRun
from latticegraph.pipeline.prepare import build_model
from latticegraph.training import EmbeddingTrainer, TrainingResult
from latticegraph.training.checkpoint import read_checkpoint
from latticegraph.training.checks import check_same_config
from latticegraph.training.machine import training_session
from latticegraph.training.plan import TrainingPlan
from latticegraph.training.run_folder import RunFolder

_log = logging.getLogger(__name__)

FOLDER = "without_lattice"


def switched_off(model: LatticeModel) -> LatticeModel:
    """``model`` with dynamics that leave every state as it is; weights are shared.

    Args:
        model: trained; stays as it is.
    """
    dynamics = model.student.dynamics
    identity = Identity(dynamics.names, dynamics.cells, dynamics.backend)
    off = model.student.with_dynamics(identity).to(model.device)
    return LatticeModel(off, model.graph, model.config)


def control_checkpoint(run_dir: Path) -> Path:
    """Where the best weights of the retrained control lie."""
    return RunFolder(run_dir / FOLDER).best


def control_config(config: Config, samples: int) -> Config:
    """The configuration of the retrained control.

    Front-face states are copied to the back face; everything is trained for
    ``evaluation.off_epochs`` with the rate and schedule of the longest phase.

    Args:
        config: of the run.
        samples: training samples, which decide the length of an epoch.
    """
    training = config.training
    lengths = TrainingPlan(training, samples).lengths
    longest = training.phases[lengths.index(max(lengths))]
    epochs = config.evaluation.off_epochs
    phase = longest.model_copy(
        update={"name": "without lattice", "epochs": epochs, "updates": 0, "train": "all"}
    )
    wire = config.model.dynamics.model_copy(update={"mode": "wire"})
    return config.model_copy(
        update={
            "model": config.model.model_copy(update={"dynamics": wire}),
            "training": training.model_copy(
                update={"phases": (phase,), "checkpoint_every": epochs, "keep_checkpoints": 1}
            ),
        }
    )


def train_control(run: FittedRun) -> TrainingResult:
    """Train the control below the run's folder, or continue where an earlier call was interrupted.

    Args:
        run: its text, embeddings and processes are used.

    Raises:
        TrainingError: when the loss is no longer finite.
    """
    prepared, processes = run.prepared, run.processes
    config = control_config(run.config, len(prepared.train))
    folder = run.folder / FOLDER
    continues = processes.from_writer(processes.is_writer and _continues(config, folder))
    _log.info(
        "control: training the same model without the lattice for %s epochs",
        run.config.evaluation.off_epochs,
    )
    with training_session(config.run, prepared.device, config.model.init.reproducible):
        graph, student = build_model(config, prepared.device)
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
        )
        return trainer.fit(resume_from=RunFolder(folder).last if continues else None)


def _continues(config: Config, folder: Path) -> bool:
    """Whether ``folder`` holds a checkpoint of this very control; else it is deleted."""
    last = RunFolder(folder).last
    if last.is_file():
        try:
            check_same_config(last, read_checkpoint(last).config, config)
        except CheckpointError:
            _log.info("control: %s is of another configuration, training it again", folder)
        else:
            return True
    if folder.exists():
        shutil.rmtree(folder)
    return False
