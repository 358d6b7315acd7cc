"""Where the score comes from: the same model untrained or with a frozen lattice, and none at all.

Legend: N samples, D teacher width.
"""

from __future__ import annotations

import logging
from pathlib import Path

from latticegraph.config import Config
from latticegraph.evaluation import DecoderNetwork, EmbeddingSplit, RandomFeatures, SizedRow
from latticegraph.hub import LatticeModel, LatticeModelConfig
from latticegraph.model import Student
from latticegraph.pipeline.fit_run import FittedRun
from latticegraph.pipeline.kept_rows import KeptRows
from latticegraph.pipeline.model_row import ModelRow
from latticegraph.pipeline.prepare import Prepared, build_model
from latticegraph.pipeline.side_run import train_beside
from latticegraph.training import TrainingResult
from latticegraph.training.machine import training_session
from latticegraph.training.run_folder import RunFolder

_log = logging.getLogger(__name__)

FOLDER = "frozen_lattice"


def is_frozen(config: Config) -> bool:
    """Whether a run of ``config`` trains nothing in the lattice, so that it is its own control."""
    never = all(phase.train == "projections" for phase in config.training.phases)
    return never or config.model.dynamics.mode != "lattice"


def frozen_config(config: Config) -> Config:
    """The configuration of the frozen lattice: the same phases, none of which trains experts.

    Seed, batches and schedule are those of the run. A phase that trains the experts alone trains
    the projections instead, so that both models get as many updates.

    Args:
        config: of the run.
    """
    phases = tuple(
        phase.model_copy(update={"train": "projections"}) for phase in config.training.phases
    )
    training = config.training.model_copy(update={"phases": phases})
    return config.model_copy(update={"training": training})


def frozen_checkpoint(run_dir: Path) -> Path:
    """Where the best weights of the frozen lattice lie."""
    return RunFolder(run_dir / FOLDER).best


def wants_frozen(config: Config) -> bool:
    """Whether the report of ``config`` needs a second training for the frozen lattice."""
    return config.report.attribution == "full" and not is_frozen(config)


def train_frozen(run: FittedRun) -> TrainingResult | None:
    """Train all but experts and gates below the run's folder, or continue an earlier call.

    Args:
        run: its text, embeddings and processes are used.

    Returns:
        How it ended; None where the report does not need it.

    Raises:
        TrainingError: when the loss is no longer finite.
    """
    if not wants_frozen(run.config):
        return None
    _log.info("attribution: training the same model with a frozen lattice")
    return train_beside(run, frozen_config(run.config), run.folder / FOLDER)


def untrained(prepared: Prepared) -> LatticeModel:
    """The model of a run before its first update: PCA, readout and a random lattice.

    Args:
        prepared: configuration and training embeddings.
    """
    config, device, train = prepared.config, prepared.device, prepared.train
    exact = config.model.init.reproducible
    with training_session(config.run, device, exact):
        graph, student = build_model(config, device)
    # A session of its own, as training has one: the same random numbers meet the same start.
    with training_session(config.run, device, exact):
        student.eval()
        student.start_from_data(train.source_ND.to(device), train.target_ND.to(device))
    return LatticeModel(student, graph, LatticeModelConfig.of(config, prepared.identity))


def attribution_rows(
    prepared: Prepared,
    model: LatticeModel,
    frozen: LatticeModel | None,
    train: EmbeddingSplit,
    validation: EmbeddingSplit,
    kept: KeptRows,
) -> list[SizedRow]:
    """The rows that ``report.attribution`` asks for, fitted.

    Args:
        prepared: configuration and embeddings of the run.
        model: the trained student.
        frozen: the same with a frozen lattice, where :func:`wants_frozen`.
        train: what the rows without a lattice learn from.
        validation: what they are chosen by.
        kept: rows of the same fit, where the run has them.
    """
    config = prepared.config
    if config.report.attribution == "none":
        return []
    how = (config.evaluation.batch_size, config.training.precision)
    _log.info("attribution: untrained lattice, random features, decoder network")
    rows: list[SizedRow] = [
        ModelRow("untrained_lattice", "untrained lattice", untrained(prepared), *how)
    ]
    if frozen is not None:
        rows.append(ModelRow("frozen_lattice", "frozen lattice", frozen, *how))
    elif is_frozen(config) and config.report.attribution == "full":
        rows.append(ModelRow("frozen_lattice", "frozen lattice (this run)", model, *how))
    held = (validation.source_ND, validation.target_ND)
    width, seed = model.student.surface_width, config.run.seed
    features = RandomFeatures(width, _features(model.student), seed)
    network = DecoderNetwork(width, model.parameters, seed)

    def fit() -> None:
        features.fit(train.source_ND, train.target_ND, held)
        network.fit(train.source_ND, train.target_ND, held)

    sizes = {"features": features.features, "parameters": model.parameters}
    kept.fill("attribution", [features, network], prepared, width, fit, sizes)
    return [*rows, features, network]


def _features(student: Student) -> int:
    """Numbers that the student's readout reads."""
    correction = student.extractor.correction
    return student.surface_width if correction is None else correction.in_features
