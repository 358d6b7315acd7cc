"""Two configurations over several seeds, on the same text."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from latticegraph.config import Config, load_config
from latticegraph.errors import ConfigError
from latticegraph.evaluation import (
    EmbeddingSplit,
    GroupBootstrap,
    MeasuredRow,
    compare_seeds,
    measure_row,
    report_metrics,
)
from latticegraph.files import write_json
from latticegraph.pipeline.fit_run import FittedRun, fit
from latticegraph.pipeline.model_row import ModelRow
from latticegraph.pipeline.prepare import Prepared, prepare
from latticegraph.training.checks import decisive_settings
from latticegraph.training.machine import resolve_device, training_session
from latticegraph.training.run_folder import RunFolder

_log = logging.getLogger(__name__)

_SHARED = ("data.", "teacher.")
_OWN = ("run.seed", "run.name")


@dataclass
class _Side:
    """One of the two models.

    Attributes:
        config: its configuration; the seed is replaced.
        folder: the run it was read from; None for a file.
        rows: what it scores, seed by seed.
        parameters: of the model.
    """

    config: Config
    folder: Path | None
    rows: list[MeasuredRow] = field(default_factory=list)
    parameters: int = 0

    @property
    def name(self) -> str:
        """Name in the table."""
        return str(self.config.run.name)

    def with_seed(self, seed: int) -> Config:
        """The configuration of one seed; a run of that seed given as a folder is continued."""
        own = self.folder is not None and self.config.run.seed == seed
        name = self.name if own else f"{self.name}-seed{seed}"
        update: dict[str, Any] = {"seed": seed, "name": name}
        if own and self.folder is not None:
            update["output_dir"] = str(self.folder.parent)
        return self.config.model_copy(update={"run": self.config.run.model_copy(update=update)})


def compare(
    first: str | Path, second: str | Path, seeds: int = 5, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Train two configurations with the seeds 0 to ``seeds`` - 1 and compare them on held-out text.

    The runs are named ``NAME-seedK`` below ``run.output_dir``; those that are finished are not
    trained again, and those that were interrupted are continued. Text and embeddings are prepared
    once. The result is written to ``run.output_dir`` of the first as ``compare-A-B.json``.

    Args:
        first: A, a configuration file, or the folder of a run: that gives its configuration and
            stands for its own seed.
        second: B, likewise.
        seeds: how many, at least 1; an interval over seeds needs 2.
        overrides: ``dotted.key=value`` for both.

    Returns:
        ``reason`` (``finished`` or ``interrupted``), ``signal``, and unless interrupted ``seeds``,
        ``heldout``, ``models`` (by name: parameters, and mean, deviation and list per seed of every
        metric), ``difference`` (A minus B) and ``file``.

    Raises:
        LatticeGraphError: the two differ in text or teacher or share a name, a setting is wrong, or
            a run cannot be trained.
    """
    if seeds < 1:
        raise ConfigError(
            "--seeds", f"expected at least 1 seed, got {seeds}", "Choose for example 5"
        )
    _check_overrides(overrides)
    sides = (_side(first, overrides), _side(second, overrides))
    _check_sides(*sides)
    config = sides[0].config
    device = resolve_device(config.run)
    with training_session(config.run, device, config.model.init.reproducible):
        prepared = prepare(config, device)
    for seed in range(seeds):
        for side in sides:
            wanted = side.with_seed(seed)
            _log.info("compare: %s, seed %s", side.name, seed)
            run = fit(wanted, "auto", prepared=replace(prepared, config=wanted))
            if run.result.reason == "interrupted":
                return {"reason": "interrupted", "signal": run.result.signal}
            _measure(side, run)
    return _result(sides, prepared, seeds)


def _side(given: str | Path, overrides: Sequence[str]) -> _Side:
    path = Path(given).expanduser()
    if not path.is_dir():
        return _Side(load_config(path, overrides), None)
    if not (path / "config.yaml").is_file() or not RunFolder(path).last.is_file():
        raise ConfigError(
            "compare",
            f"expected a configuration file or the folder of a run, got folder '{path}' without "
            "config.yaml and checkpoints",
            "Name a YAML file, or a folder below run.output_dir",
        )
    resolved = path.resolve()
    config = load_config(path / "config.yaml", overrides)
    run = config.run.model_copy(update={"name": resolved.name})
    return _Side(config.model_copy(update={"run": run}), resolved)


def _check_overrides(overrides: Sequence[str]) -> None:
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key in _OWN:
            raise ConfigError(
                key,
                f"expected no value for it in a comparison, got '{override}'",
                "Leave it out: seeds are those of --seeds, and each run is named after its file",
            )


def _check_sides(one: _Side, two: _Side) -> None:
    """Refuse two models of one name, or that were not made from the same text and teacher."""
    if one.name == two.name:
        raise ConfigError(
            "run.name",
            f"expected different names for the two models, got '{one.name}' twice",
            "Give the files different names",
        )
    old, new = decisive_settings(one.config), decisive_settings(two.config)
    for key in sorted(old | new):
        if key.startswith(_SHARED) and old.get(key) != new.get(key):
            raise ConfigError(
                key,
                f"expected the same text and teacher for both models, got {old.get(key)!r} and "
                f"{new.get(key)!r}",
                "Set it to one value for both with --set",
            )


def _measure(side: _Side, run: FittedRun) -> None:
    config, prepared = run.config, run.prepared
    settings = config.evaluation
    heldout, mean_D = _heldout(prepared)
    with training_session(config.run, prepared.device, config.model.init.reproducible):
        model = run.best_model()
        row = ModelRow("student", side.name, model, settings.batch_size, config.training.precision)
        metrics = report_metrics(config.data.task, settings.metrics)
        side.rows.append(measure_row(row, metrics, heldout, mean_D))
    side.parameters = model.parameters


def _heldout(prepared: Prepared) -> tuple[EmbeddingSplit, Any]:
    pairs = prepared.heldout
    split = EmbeddingSplit.of("heldout", pairs.source_ND, pairs.target_ND)
    return split, prepared.train.target_ND.double().mean(0).numpy()


def _result(sides: tuple[_Side, _Side], prepared: Prepared, seeds: int) -> dict[str, Any]:
    heldout, mean_D = _heldout(prepared)
    groups = [sample.group for sample in prepared.splits.heldout]
    spread_N = np.square(heldout.target_ND - mean_D).sum(axis=1)
    bootstrap = GroupBootstrap(groups, spread_N)
    errors = [[row.error_N for row in side.rows] for side in sides]
    one, two = sides
    path = Path(one.config.run.output_dir).expanduser() / f"compare-{one.name}-{two.name}.json"
    result = {
        "reason": "finished",
        "signal": None,
        "seeds": seeds,
        "heldout": {"samples": bootstrap.samples, "groups": bootstrap.groups},
        "models": {side.name: _summary(side) for side in sides},
        "difference": compare_seeds(errors[0], errors[1], bootstrap).to_json(),
        "file": str(path),
    }
    write_json(path, result, "run.output_dir")
    return result


def _summary(side: _Side) -> dict[str, Any]:
    metrics = {}
    for name in side.rows[0].metrics:
        values = [row.metrics[name] for row in side.rows]
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        metrics[name] = {
            "mean": float(np.mean(values)),
            "deviation": deviation,
            "by_seed": values,
        }
    return {"parameters": side.parameters, "metrics": metrics}
