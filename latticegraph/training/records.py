"""What one log line says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from latticegraph.config import Config
from latticegraph.training.plan import TrainingPlan
from latticegraph.training.progress import Progress

DEAD_USAGE = 0.02
COLLAPSED_RATIO = 0.1


def head(kind: str, progress: Progress, plan: TrainingPlan) -> dict[str, Any]:
    """Kind, update, epoch (1 during the first) and phase: how every record begins."""
    moment = plan.last_moment(progress.update)
    return {
        "kind": kind,
        "update": progress.update,
        "epoch": plan.epochs(progress.update),
        "phase": plan.settings.phases[moment.phase].name,
    }


def train_record(
    progress: Progress,
    plan: TrainingPlan,
    config: Config,
    window: Mapping[str, Any],
    passes: float,
    norms: Mapping[str, Tensor | None],
) -> dict[str, Any]:
    """One line about the updates since the last one.

    ``ms_per_step`` is the time of forward and backward pass, projections included, per lattice
    step; ``ms_per_step_ratio`` compares it with ``model.target_performance_ms``.

    Args:
        progress: counters, and the seconds that the window took.
        plan: names the phase.
        config: batch size and wanted speed.
        window: means of the window.
        passes: forward passes of the window.
        norms: gradient norm of each component in the latest update; None where frozen.
    """
    seconds, steps = progress.window_seconds, window["steps_used"]
    per_step = 1000 * seconds / (passes * steps) if steps else None
    own = {name: None if value is None else float(value) for name, value in norms.items()}
    return {
        **head("train", progress, plan),
        "learning_rate": plan.last_moment(progress.update).rate,
        **window,
        "grad_norm": window["grad_norm"] | own,
        "cache_hit_rate": progress.cache_hit_rate,
        "samples_per_second": passes * config.training.batch_size / seconds,
        "ms_per_step": per_step,
        "ms_per_step_ratio": (
            None if per_step is None else per_step / config.model.target_performance_ms
        ),
    }


def find_warnings(values: Mapping[str, Any], mode: str) -> list[dict[str, Any]]:
    """Dead experts and collapse, as seen on the validation pairs.

    Args:
        values: what the validator measured.
        mode: ``model.dynamics.mode``; without lattice no expert is used.
    """
    found = []
    for name, share in values["usage"].items() if mode == "lattice" else ():
        if share < DEAD_USAGE:
            text = (
                f"the {name} expert is all but unused (mean share {share:.3f}, below "
                f"{DEAD_USAGE}); raise model.gating.balance_weight or model.gating.temperature"
            )
            found.append({"about": "dead_expert", "expert": name, "message": text})
    ratio = values["prediction_std_ratio"]
    if ratio < COLLAPSED_RATIO:
        text = (
            f"the predictions have collapsed: their spread is {ratio:.3f} of the teacher's (below "
            f"{COLLAPSED_RATIO}); raise losses.reconstruction or lower the learning_rate"
        )
        found.append({"about": "collapse", "message": text})
    return found
