"""How a run and the trainings beside it went, from their logs."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from latticegraph.errors import CheckpointError
from latticegraph.files import parse_json
from latticegraph.pipeline.attribution import FOLDER as FROZEN
from latticegraph.pipeline.without_lattice import FOLDER as CONTROL
from latticegraph.training.run_folder import RunFolder

_PLACES = {"student": "", "frozen_lattice": FROZEN, "lattice_off_retrained": CONTROL}


def read_curves(run_dir: Path) -> dict[str, dict[str, list[list[float]]]]:
    """Training loss and validation explained variance of every training of a run, per epoch.

    Args:
        run_dir: folder of the run; the models trained beside it lie below.

    Returns:
        By the name of the row, ``training_loss`` and ``explained_variance`` as lists of ``[epoch,
        value]``. The loss is the mean over an epoch, from 1; the explained variance is measured
        after an epoch, and after 0 at the start.

    Raises:
        CheckpointError: a log is damaged.
    """
    found = {name: RunFolder(run_dir / place).metrics for name, place in _PLACES.items()}
    return {name: _curve(path) for name, path in found.items() if path.is_file()}


def _curve(path: Path) -> dict[str, list[list[float]]]:
    losses: dict[int, list[float]] = {}
    explained: dict[int, float] = {}
    try:
        for record in map(parse_json, filter(None, path.read_text("utf-8").split("\n"))):
            epoch = record["epoch"]
            if record["kind"] == "train":
                losses.setdefault(epoch, []).append(record["losses"]["total"])
            elif record["kind"] == "validation":
                explained[epoch] = record["explained_variance"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            str(path),
            f"expected records of a run, an object per line, got: {error!r}",
            "Put the log of the run back, or train again",
        ) from error
    return {
        "training_loss": [[epoch, fmean(values)] for epoch, values in sorted(losses.items())],
        "explained_variance": [[epoch, value] for epoch, value in sorted(explained.items())],
    }
