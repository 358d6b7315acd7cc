"""Signs that a run goes wrong, what they mean, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Literal

from latticegraph.dashboard.run_history import Points, RunHistory

# Thresholds: of a loss over its lowest value, and of explained variances, which are shares.
DIVERGED_RATIO = 1.5
DIVERGED_FALL = 0.05
PAST_BEST_FALL = 0.005
STALLED_GAIN = 0.005
PLATEAU_GAIN = 0.001
LOW_RANK_RATIO = 0.1
ALIKE_SHARE = 0.9
WINDOW = 5  # log lines whose median counts as one value
FEWEST_LINES, FEWEST_VALIDATIONS = 15, 6

Level = Literal["bad", "note"]


@dataclass(frozen=True)
class Finding:
    """One sign.

    Attributes:
        name: short, such as ``divergence``.
        level: ``bad`` asks for action; ``note`` should be known.
        seen: what was measured.
        meaning: what it says about the run.
        action: what to do.
    """

    name: str
    level: Level
    seen: str
    meaning: str
    action: str


def findings(run: RunHistory) -> list[Finding]:
    """All signs of a run, the bad ones first; empty where nothing is wrong.

    Dead experts and collapsed predictions are those that the run itself warned of at its latest
    validation. The other thresholds are the constants of this module; they are conventions and no
    tests of significance.

    Args:
        run: its log.
    """
    checks = (
        _divergence(run),
        _warned(run),
        _low_rank(run),
        _stalled(run),
        _silent(run),
        _past_best(run),
        _plateau(run),
        _unfinished(run),
    )
    found = [one for group in checks for one in group]
    return sorted(found, key=lambda one: one.level != "bad")


def _values(points: Points) -> list[float]:
    return [value for _, value in points]


def _losses(run: RunHistory) -> list[float]:
    """Total training loss of the lines of the latest phase; other phases may weigh other terms."""
    latest = run.last("train")
    if latest is None:
        return []
    return [line["losses"]["total"] for line in run.of("train") if line["phase"] == latest["phase"]]


def _explained(run: RunHistory) -> list[float]:
    return _values(run.curve("validation", "explained_variance"))


def _divergence(run: RunHistory) -> list[Finding]:
    losses, explained, seen = _losses(run), _explained(run), []
    if len(losses) >= FEWEST_LINES:
        smooth = [median(losses[i : i + WINDOW]) for i in range(len(losses) - WINDOW + 1)]
        lowest = min(smooth)
        if lowest > 0 and smooth[-1] > DIVERGED_RATIO * lowest:
            seen.append(f"the training loss is {smooth[-1]:.3g}, it was {lowest:.3g}")
    if explained and explained[-1] < max(explained) - DIVERGED_FALL:
        seen.append(f"the explained variance is {explained[-1]:.3f}, it was {max(explained):.3f}")
    if not seen:
        return []
    return [
        Finding(
            "divergence",
            "bad",
            "; ".join(seen),
            "Updates are too large and undo what was learned. The best checkpoint keeps the state "
            "before.",
            "Lower the learning_rate of the phase, lengthen its warmup, or lower "
            "training.clip_norm, and start a new run",
        )
    ]


def _warned(run: RunHistory) -> list[Finding]:
    latest = run.last("validation")
    if latest is None:
        return []
    meanings = {
        "dead_expert": "The gate hardly ever chooses this expert, so that it gets hardly any "
        "gradient and will not recover by itself.",
        "collapse": "All predictions are nearly the same vector, whatever the text.",
    }
    found = []
    for record in run.of("warning"):
        if record["update"] == latest["update"]:
            seen, _, action = record["message"].partition("; ")
            about = str(record["about"])
            found.append(
                Finding(about.replace("_", " "), "bad", seen, meanings.get(about, ""), action)
            )
    return found


def _low_rank(run: RunHistory) -> list[Finding]:
    latest = run.last("validation")
    values = {} if latest is None else latest.get("spread", {})
    if not values or not run.update:
        return []
    rank, wanted = values["effective_rank"], values["target_effective_rank"]
    cosine, usual = values["pairwise_cosine"], values["target_pairwise_cosine"]
    seen = []
    if rank < LOW_RANK_RATIO * wanted:
        seen.append(f"predictions vary in {rank:.1f} directions, their targets in {wanted:.1f}")
    if cosine > usual + ALIKE_SHARE * (1 - usual):
        seen.append(f"two predictions have a mean cosine of {cosine:.3f}, two targets {usual:.3f}")
    if not seen:
        return []
    return [
        Finding(
            "few directions",
            "bad",
            "; ".join(seen),
            "The predictions keep only a small part of what tells texts apart, even where their "
            "squared error looks fair.",
            "Raise losses.diversity or losses.structure; check that model.dynamics.steps cross the "
            "cube",
        )
    ]


def _stalled(run: RunHistory) -> list[Finding]:
    losses, explained = _losses(run), _explained(run)
    third = len(losses) // 3
    if len(losses) < FEWEST_LINES or len(explained) < 3:
        return []
    early, late = median(losses[:third]), median(losses[-third:])
    gain = max(explained[1:]) - explained[0]
    if late < early * 0.995 or gain > STALLED_GAIN:
        return []
    return [
        Finding(
            "stalled loss",
            "bad",
            f"the training loss went from {early:.4g} to {late:.4g}, and no validation explains "
            f"{STALLED_GAIN} more than the start",
            "Nothing is learned: the rate is too low, the trained part is the wrong one, or no "
            "signal crosses the cube.",
            "Raise the learning_rate, check training.phases and model.init.init_method (transport)",
        )
    ]


def _silent(run: RunHistory) -> list[Finding]:
    lines = run.of("train")[-3:]
    if len(lines) < 3:
        return []
    found = []
    for name in lines[-1]["grad_norm"]:
        norms = [line["grad_norm"].get(name) for line in lines]
        if all(norm == 0 for norm in norms):
            found.append(
                Finding(
                    "no gradient",
                    "note",
                    f"the gradient of {name} is exactly 0",
                    "This part is computed but nothing depends on it, so that it does not learn.",
                    "Check the weights of the losses and the gates that lead to it",
                )
            )
    return found


def _past_best(run: RunHistory) -> list[Finding]:
    explained = _explained(run)
    if len(explained) < FEWEST_VALIDATIONS:
        return []
    best = max(explained)
    since = len(explained) - 1 - explained.index(best)
    if since < 3 or not PAST_BEST_FALL < best - explained[-1] <= DIVERGED_FALL:
        return []
    return [
        Finding(
            "past its best",
            "note",
            f"the explained variance was {best:.4f} {since} validations ago and is "
            f"{explained[-1]:.4f}",
            "The run fits its training text better and other text worse. The best checkpoint is "
            "kept and is what the report measures.",
            "Set training.early_stopping.patience, raise training.weight_decay, or give more text",
        )
    ]


def _plateau(run: RunHistory) -> list[Finding]:
    explained = _explained(run)
    recent = max(4, len(explained) // 3)
    if len(explained) < recent + 2:
        return []
    before, after = max(explained[:-recent]), max(explained[-recent:])
    # Below it the best value lies further back, which is another sign.
    if not -PAST_BEST_FALL <= after - before < PLATEAU_GAIN:
        return []
    return [
        Finding(
            "plateau",
            "note",
            f"the best explained variance rose by {max(after - before, 0.0):.4f} in the last "
            f"{recent} validations",
            "At this learning rate the run has learned what it can; at the end of a schedule that "
            "is as it should be.",
            "If it comes early: end the phase sooner with a falling schedule, or enlarge "
            "model.state_channels or the face",
        )
    ]


def _unfinished(run: RunHistory) -> list[Finding]:
    if run.state != "interrupted" or run.total is None:
        return []
    return [
        Finding(
            "unfinished",
            "note",
            f"the log ends at update {run.update} of {run.total}, and nobody trains",
            "The run was interrupted, killed, or failed.",
            "Go on with latticegraph train --config RUN/config.yaml --resume auto",
        )
    ]
