"""The records of a log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latticegraph.training.state import TrainingState

DEAD_USAGE = 0.02
COLLAPSED_RATIO = 0.1


def head(kind: str, state: TrainingState) -> dict[str, Any]:
    """Kind, update, epoch (1 during the first) and phase, with which every record begins."""
    done = state.progress.update
    return {
        "kind": kind,
        "update": done,
        "epoch": state.plan.epochs(done),
        "phase": state.plan.settings.phases[state.plan.latest(done).phase].name,
    }


def start_record(state: TrainingState) -> dict[str, Any]:
    """The first record of a run: how long it is, and what is trained."""
    config, plan = state.config, state.plan
    return {
        **head("start", state),
        "total_updates": plan.total,
        "updates_per_epoch": plan.updates_per_epoch,
        "dimensions": list(config.lattice.dimensions),
        "axis": config.lattice.axis,
        "steps": config.model.dynamics.steps,
        "experts": list(state.student.dynamics.experts),
        "parameters": sum(p.numel() for p in state.student.parameters()),
    }


def train_record(
    state: TrainingState, seconds: float, cache_hit_rate: float | None
) -> dict[str, Any]:
    """A record of the updates since the last one.

    ``ms_per_step`` is the time of forward and backward pass, projections included, per lattice
    step; ``ms_per_step_ratio`` compares it with ``model.target_performance_ms``.

    Args:
        state: its running means and gradient norms.
        seconds: duration of these updates.
        cache_hit_rate: share of texts whose embedding was on disk.
    """
    config, means, passes = state.config, state.means.means(), state.means.passes()
    steps = means["steps_used"]
    per_step = 1000 * seconds / (passes * steps) if steps else None
    norms = {name: None if norm is None else float(norm) for name, norm in state.norms.items()}
    return {
        **head("train", state),
        "learning_rate": state.plan.latest(state.progress.update).learning_rate,
        **means,
        "grad_norm": means["grad_norm"] | norms,
        "cache_hit_rate": cache_hit_rate,
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
