"""What monitoring costs: epochs of one run with and without it, in turn.

Run ``python benchmarks/monitoring.py --config configs/8cube.yaml --json FILE``. An epoch is timed
from the end of one validation to the end of the next. Without monitoring there are no running
means, no log, no gradient norms, no look into the cube, no spread of the embeddings, no decoded
examples and no page; the validation itself stays, as it chooses the best checkpoint. The share of
the gradient of every term is rare (``training.shares_every``), so an update with it is timed by
itself and its excess spread over that many updates.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latticegraph.startup import tune_process

if TYPE_CHECKING:
    from latticegraph.config import Config
    from latticegraph.training import EmbeddingTrainer


def main() -> int:
    """Measure, print the shares, and write them."""
    parser = argparse.ArgumentParser(description="What monitoring costs, as a share of an epoch.")
    parser.add_argument("--config", default="configs/8cube.yaml", metavar="FILE")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--samples", type=int, default=11_439, metavar="N")
    parser.add_argument("--validation", type=int, default=602, metavar="N")
    parser.add_argument("--rounds", type=int, default=4, metavar="N", help="epochs of each kind")
    parser.add_argument("--json", metavar="FILE", help="also write the result as JSON")
    options = parser.parse_args()
    tune_process()
    result = measure(
        options.config, options.set, options.samples, options.validation, options.rounds
    )
    sys.stdout.write(
        "epoch of {updates} updates: {off_s:.2f} s without, {on_s:.2f} s with monitoring: "
        "{epoch_share:+.2%}\nshare of each term in the gradient: {shares_share:.2%} of the time\n"
        "together: {share:+.2%}\n".format(**result)
    )
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2), encoding="utf-8")
    return 0


def measure(
    config_file: str, overrides: list[str], samples: int, validation: int, rounds: int
) -> dict[str, Any]:
    """Median seconds of an epoch of each kind, and what monitoring adds as a share of them."""
    from latticegraph.config import load_config
    from latticegraph.training.machine import training_session

    config = load_config(config_file, overrides)
    batch = config.training.batch_size * config.training.accumulate
    updates = samples // batch
    phase = config.training.phases[-1].model_copy(
        update={"updates": (2 * rounds + 1) * updates, "epochs": 0}
    )
    training = config.training.model_copy(update={"phases": (phase,)})
    run = config.run.model_copy(update={"device": "cpu"})
    config = config.model_copy(update={"training": training, "run": run})
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(config, samples, validation, Path(folder))
        times = watched(trainer)
        trainer.fit()
        with training_session(config.run, trainer.state.device, exact=True):
            update_s, shares_s = time_shares(trainer, rounds)
    off_s, on_s = (statistics.median(times[kind]) for kind in ("off", "on"))
    every = config.training.shares_every
    shares_share = (shares_s - update_s) / (every * update_s) if every else 0.0
    return {
        "config": config_file,
        "updates": updates,
        "off_s": off_s,
        "on_s": on_s,
        "epochs": times,
        "epoch_share": on_s / off_s - 1,
        "shares_share": shares_share,
        "share": on_s / off_s - 1 + shares_share,
    }


def make_trainer(config: Config, samples: int, validation: int, folder: Path) -> EmbeddingTrainer:
    """A run on random embeddings of falling variance, with its page and its examples."""
    import torch

    from latticegraph.pipeline.live_dashboard import LiveDashboard
    from latticegraph.pipeline.prepare import build_model
    from latticegraph.training import EmbeddingPairs, EmbeddingTrainer

    width = config.teacher.dimension
    generator = torch.Generator().manual_seed(0)
    scale_D = torch.linspace(1, 0.05, width)

    def pairs(count: int) -> EmbeddingPairs:
        rows_ND = torch.randn(count, width, generator=generator) * scale_D
        rows_ND = rows_ND / rows_ND.norm(dim=1, keepdim=True)
        return EmbeddingPairs(rows_ND, rows_ND)

    graph, student = build_model(config, torch.device("cpu"))
    return EmbeddingTrainer(
        config,
        student,
        graph,
        pairs(samples),
        pairs(validation),
        folder,
        cache_hit_rate=1.0,
        validation_texts=[f"Sentence {number}." for number in range(validation)],
        callbacks=[LiveDashboard(config.report.dashboard_every)],
    )


def watched(trainer: EmbeddingTrainer) -> dict[str, list[float]]:
    """Seconds of the epochs of each kind, filled while the trainer runs; the first is left out."""
    from latticegraph.training import Callback, TrainingState
    from latticegraph.training.callbacks import validation as validating

    state = trainer.state
    logging, stopping, page, validation, _ = state.callbacks
    monitor, decoder = trainer.validation.monitor, trainer.validator._decoder
    spread, is_logged, means = validating.embedding_spread, state.plan.is_logged, state.means
    adding = {name: getattr(means, name) for name in ("add", "add_norm", "add_group")}
    shares = state.config.training
    no_shares = shares.model_copy(update={"shares_every": 0})
    times: dict[str, list[float]] = {"off": [], "on": []}

    class Switch(Callback):
        """Turns monitoring on and off after every epoch."""

        def __init__(self) -> None:
            self.began: float | None = None
            self.on = True

        def on_epoch_end(self, state: TrainingState) -> None:
            """Note the time, and turn."""
            now = time.perf_counter()
            if self.began is not None:
                times["on" if self.on else "off"].append(now - self.began)
            self.turn(not self.on)
            self.began = time.perf_counter()

        def turn(self, on: bool) -> None:
            """Let everything that only observes run, or nothing of it."""
            self.on = on
            watching = (logging, stopping, page) if on else ()
            state.callbacks = (*watching, validation, self)
            trainer.validation.monitor = monitor if on else None
            trainer.validator._decoder = decoder if on else None
            trainer.updater.settings = no_shares
            validating.embedding_spread = spread if on else lambda *_: {}  # type: ignore[assignment]
            state.plan.is_logged = is_logged if on else lambda done: False  # type: ignore[method-assign]
            for name, add in adding.items():
                setattr(means, name, add if on else lambda *_: None)

    switch = Switch()
    switch.turn(True)
    return times


def time_shares(trainer: EmbeddingTrainer, rounds: int) -> tuple[float, float]:
    """Median seconds of an update without and with the share of every term, in turn."""
    state, updater = trainer.state, trainer.updater
    settings = state.config.training
    planned = state.plan.at(0)
    found: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(4 * rounds):
        for every, seconds in found.items():
            updater.settings = settings.model_copy(update={"shares_every": every})
            batches = trainer.sampler.batches(0)
            began = time.perf_counter()
            updater.update(batches, planned, state.means, measure=False)
            seconds.append(time.perf_counter() - began)
    return statistics.median(found[0]), statistics.median(found[1])


if __name__ == "__main__":
    sys.exit(main())
