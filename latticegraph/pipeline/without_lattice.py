"""The controls: a model whose dynamics are switched off, and one that was trained without them."""

from __future__ import annotations

import logging
from pathlib import Path

from latticegraph.config import Config
from latticegraph.dynamics import Identity
from latticegraph.hub import LatticeModel
from latticegraph.pipeline.fit_run import FittedRun
from latticegraph.pipeline.side_run import train_beside
from latticegraph.training import TrainingResult
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
    channels = model.config.model.state_channels
    identity = Identity(dynamics.names, dynamics.cells, dynamics.backend, channels)
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
    config = control_config(run.config, len(run.prepared.train))
    _log.info(
        "control: training the same model without the lattice for %s epochs",
        run.config.evaluation.off_epochs,
    )
    return train_beside(run, config, run.folder / FOLDER, divided=False)
