"""What monitoring costs: parts of one run with and without it, in turn.

Run ``python benchmarks/monitoring.py --config configs/8cube.yaml --json FILE``. Four parts are
measured, each beside the same work without it, and divided by the time of the updates between two
of them:

- log lines: stretches of ``training.log_every`` updates, with running means, gradient norms, the
  record, and TensorBoard, or without;
- validations: with a look into the cube, the spread of the embeddings, decoded examples and their
  records, or without; the validation itself stays, as it chooses the best checkpoint;
- shares: updates with and without the gradient of every term (``training.shares_every``);
- the page: ``dashboard.html`` of the run's log, every ``report.dashboard_every`` seconds.

Seconds are those of the process (CPU time of all its threads), which other work on the machine
hardly touches; those of the clock stand beside them in the JSON.
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
    from collections.abc import Callable

    from latticegraph.config import Config
    from latticegraph.training import EmbeddingTrainer


def main() -> int:
    """Measure, print the shares, and write them."""
    parser = argparse.ArgumentParser(description="What monitoring costs, as a share of an epoch.")
    parser.add_argument("--config", default="configs/8cube.yaml", metavar="FILE")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--samples", type=int, default=11_439, metavar="N")
    parser.add_argument("--validation", type=int, default=602, metavar="N")
    parser.add_argument("--stretches", type=int, default=24, metavar="N", help="of each kind")
    parser.add_argument("--rounds", type=int, default=6, metavar="N", help="of the other parts")
    parser.add_argument("--json", metavar="FILE", help="also write the result as JSON")
    options = parser.parse_args()
    tune_process()
    result = measure(
        options.config,
        options.set,
        options.samples,
        options.validation,
        options.stretches,
        options.rounds,
    )
    for name, share in result["shares"].items():
        sys.stdout.write(f"{name:12s} {share:+.2%} of the time of the updates\n")
    sys.stdout.write(f"{'together':12s} {result['share']:+.2%}\n")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2), encoding="utf-8")
    return 0


def measure(
    config_file: str,
    overrides: list[str],
    samples: int,
    validation: int,
    stretches: int,
    rounds: int,
) -> dict[str, Any]:
    """What every part of monitoring adds, as a share of the time of the updates."""
    from latticegraph.config import load_config
    from latticegraph.dashboard import write_dashboard
    from latticegraph.pipeline.live_dashboard import LARGEST_SHARE
    from latticegraph.training.machine import training_session

    config = load_config(config_file, overrides)
    settings = config.training
    per_epoch = samples // (settings.batch_size * settings.accumulate)
    phase = settings.phases[-1].model_copy(
        update={"updates": (2 * stretches + 1) * settings.log_every, "epochs": 0}
    )
    training = settings.model_copy(update={"phases": (phase,), "validate_every": 10**6})
    run = config.run.model_copy(update={"device": "cpu"})
    config = config.model_copy(update={"training": training, "run": run})
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(config, samples, validation, Path(folder))
        lines = watched(trainer)
        trainer.fit()
        with training_session(config.run, trainer.state.device, exact=True):
            parts = {
                "log lines": lines,
                "validations": time_validations(trainer, rounds),
                "shares": time_shares(trainer, rounds),
            }
            page = [timed(lambda: write_dashboard([Path(folder)])) for _ in range(rounds)]
    medians = {
        name: {kind: median(times) for kind, times in found.items()}
        for name, found in parts.items()
    }
    update_s = medians["log lines"]["off"]["cpu"] / settings.log_every
    periods = {
        "log lines": settings.log_every,
        "validations": per_epoch * settings.validate_every,
        "shares": settings.shares_every,
    }
    shares = {
        name: (medians[name]["on"]["cpu"] - medians[name]["off"]["cpu"]) / (every * update_s)
        for name, every in periods.items()
        if every
    }
    medians["page"] = {"on": median(page)}
    if every_s := config.report.dashboard_every:
        page_s = medians["page"]["on"]["cpu"]
        shares["page"] = page_s / max(every_s, page_s / LARGEST_SHARE)
    return {
        "config": config_file,
        "update_s": update_s,
        "seconds": medians,
        "shares": shares,
        "share": sum(shares.values()),
    }


Times = list[dict[str, float]]


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Seconds of one call, of the process and of the clock."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return {"cpu": time.process_time() - cpu, "clock": time.perf_counter() - began}


def median(times: Times) -> dict[str, float]:
    """The medians of both."""
    return {kind: statistics.median(one[kind] for one in times) for kind in ("cpu", "clock")}


def make_trainer(config: Config, samples: int, validation: int, folder: Path) -> EmbeddingTrainer:
    """A run on random embeddings of falling variance, with its page and its examples."""
    import torch

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
    )


def watched(trainer: EmbeddingTrainer) -> dict[str, Times]:
    """Seconds of the stretches of each kind, filled while the trainer runs; the first is left out.

    Checkpoints are no part of it.
    """
    from latticegraph.training import Callback, TrainingState

    state = trainer.state
    logging, stopping, validation, _ = state.callbacks
    is_logged, means = state.plan.is_logged, state.means
    adding = {name: getattr(means, name) for name in ("add", "add_norm", "add_group")}
    training = state.config.training
    trainer.updater.settings = training.model_copy(update={"shares_every": 0})
    times: dict[str, Times] = {"off": [], "on": []}

    class Switch(Callback):
        """Turns the log on and off after every stretch."""

        began: tuple[float, float] | None = None
        on = True

        def on_update_end(self, state: TrainingState) -> None:
            """Note the time at the end of a stretch, and turn."""
            if state.progress.update % training.log_every:
                return
            if self.began is not None:
                found = (time.process_time(), time.perf_counter())
                cpu, clock = (now - then for now, then in zip(found, self.began, strict=True))
                times["on" if self.on else "off"].append({"cpu": cpu, "clock": clock})
            self.turn(not self.on or state.at_end)
            self.began = (time.process_time(), time.perf_counter())

        def turn(self, on: bool) -> None:
            """Let the log be written, or nothing be measured for it."""
            self.on = on
            state.callbacks = (logging, stopping, validation, self) if on else (validation, self)
            state.plan.is_logged = is_logged if on else lambda done: False  # type: ignore[method-assign]
            for name, add in adding.items():
                setattr(means, name, add if on else lambda *_: None)

    Switch().turn(True)
    return times


def time_validations(trainer: EmbeddingTrainer, rounds: int) -> dict[str, Times]:
    """Seconds of validations with and without what is measured besides, in turn."""
    from latticegraph.training.callbacks import validation as validating
    from latticegraph.training.callbacks.run_log import RunLog

    state, validation = trainer.state, trainer.validation
    monitor, decoder = validation.monitor, trainer.validator._decoder
    spread, logging = validating.embedding_spread, trainer.logging
    times: dict[str, Times] = {"off": [], "on": []}
    with RunLog(state.folder) as log:
        logging._log = log
        for _ in range(rounds + 1):
            for kind, found in times.items():
                on = kind == "on"
                state.callbacks = (logging,) if on else ()
                validation.monitor = monitor if on else None
                trainer.validator._decoder = decoder if on else None
                validating.embedding_spread = spread if on else lambda *_: {}  # type: ignore[assignment]
                found.append(timed(lambda: validation._validate(state)))
        logging._log = None
    validating.embedding_spread = spread  # type: ignore[assignment]
    return {kind: found[1:] for kind, found in times.items()}


def time_shares(trainer: EmbeddingTrainer, rounds: int) -> dict[str, Times]:
    """Seconds of updates without and with the gradient of every term, in turn."""
    state, updater = trainer.state, trainer.updater
    planned = state.plan.at(0)
    times: dict[str, Times] = {"off": [], "on": []}
    for _ in range(2 * rounds):
        for kind, found in times.items():
            every = int(kind == "on")
            updater.settings = state.config.training.model_copy(update={"shares_every": every})
            batches = trainer.sampler.batches(0)
            found.append(timed(lambda b=batches: updater.update(b, planned, state.means, False)))
    return times


if __name__ == "__main__":
    sys.exit(main())
