"""What the intervals of a report say, in sentences; nothing else decides them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

FEWEST_SAMPLES = 100
FEWEST_GROUPS = 10


def verdicts(report: Mapping[str, Any]) -> list[str]:
    """Where the score comes from, and whether the student is ahead of other models.

    A difference counts where its interval leaves out 0. Fewer than 100 held-out samples or 10
    groups give no verdict.

    Args:
        report: made by :func:`~latticegraph.evaluation.report.build_report`.

    Returns:
        One sentence per row of ``attribution``, then one each for PCA, the MLP autoencoder and the
        control without lattice, one on the gates and one per expert; or the one that says that
        there are too few samples.
    """
    if not enough_text(report["heldout"]):
        return [too_little(report["heldout"])]
    return [*_attribution(report), *_opponents(report), *_roles(report)]


def enough_text(held: Mapping[str, int]) -> bool:
    """Whether there are enough held-out ``samples`` and ``groups`` for a verdict."""
    return held["samples"] >= FEWEST_SAMPLES and held["groups"] >= FEWEST_GROUPS


def too_little(held: Mapping[str, int]) -> str:
    """Why there is no verdict."""
    return (
        f"No verdict: {held['samples']:,} held-out samples in {held['groups']:,} groups are too "
        f"few (at least {FEWEST_SAMPLES} samples in {FEWEST_GROUPS} groups are needed)."
    )


def best_update(report: Mapping[str, Any]) -> str:
    """The update that validation chose, in a sentence; update 0 is said plainly."""
    training = report["training"]
    if training["best_update"] == 0:
        return (
            f"No update improved on the start: of {training['updates']:,} updates the best on "
            "validation is update 0, the untrained model."
        )
    return f"Best on validation: update {training['best_update']:,} of {training['updates']:,}."


def signed(value: float) -> str:
    """A difference with three decimals, or as many as its first digit needs, up to six.

    >>> signed(0.0234), signed(-0.00031), signed(0.0)
    ('+0.023', '-0.0003', '0.000')
    """
    if abs(value) < 5e-7:
        return "0.000"
    decimals = next((n for n in range(3, 6) if abs(value) >= 0.5 * 10**-n), 6)
    return f"{value:+.{decimals}f}"


def interval(difference: Mapping[str, Any]) -> str:
    """A difference with its interval: ``+0.023 [+0.018, +0.028]``."""
    value = signed(difference["explained_variance"])
    if difference["low"] is None:
        return f"{value} (one group, no interval)"
    return f"{value} [{signed(difference['low'])}, {signed(difference['high'])}]"


def outcome(difference: Mapping[str, Any]) -> int:
    """1 where the whole interval is above 0, -1 where it is below, else 0."""
    low, high = difference["low"], difference["high"]
    if low is None or low <= 0 <= high:
        return 0
    return 1 if low > 0 else -1


# By row: what is said where the student is ahead, level and behind.
_ATTRIBUTION = {
    "untrained_lattice": (
        "Training adds {} explained variance to the untrained start.",
        "No measurable contribution of training at all: {} against the untrained start.",
        "Training costs explained variance: {} against the untrained start.",
    ),
    "frozen_lattice": (
        "Training the lattice adds {} explained variance to the same model with frozen experts and "
        "gates.",
        "No measurable contribution of the trained lattice: {} against the same model with frozen "
        "experts and gates.",
        "Training the lattice costs explained variance: {} against the same model with frozen "
        "experts and gates.",
    ),
    "random_features": (
        "The student is ahead of random features of a PCA code: {}.",
        "No measurable difference between the student and random features of a PCA code: {}.",
        "The student is behind random features of a PCA code: {}.",
    ),
    "decoder_network": (
        "The student is ahead of a decoder network of the same size without a lattice: {}.",
        "No measurable difference between the student and a decoder network of the same size "
        "without a lattice: {}.",
        "The student is behind a decoder network of the same size without a lattice: {}.",
    ),
}
_OPPONENTS = {
    "pca": "PCA",
    "mlp_autoencoder": "the MLP autoencoder",
    "lattice_off_retrained": "the same model retrained without the lattice",
}
_AHEAD = (
    "The student beats {}: {} explained variance.",
    "No measurable difference between the student and {}: {}.",
    "The student does not beat {}: {} explained variance.",
)


def _attribution(report: Mapping[str, Any]) -> Iterator[str]:
    for name, row in report["attribution"].items():
        ahead, level, behind = _ATTRIBUTION[name]
        difference = row["difference"]
        yield (level, ahead, behind)[outcome(difference)].format(interval(difference))


def _opponents(report: Mapping[str, Any]) -> Iterator[str]:
    for name, title in _OPPONENTS.items():
        difference = report["differences"][name]
        ahead, level, behind = _AHEAD
        text = (level, ahead, behind)[outcome(difference)]
        yield text.format(title, interval(difference))


SIGNIFICANT = 0.05
_SILENCED = (
    "Silencing the {} expert makes no measurable difference: {}.",
    "Silencing the {} expert costs {} explained variance.",
    "The model explains more with the {} expert silenced: {}.",
)


def _roles(report: Mapping[str, Any]) -> Iterator[str]:
    if not report["roles"]:
        return
    gates = report["roles"]["gates"]
    says = "tell" if gates["p_value"] < SIGNIFICANT else "do not measurably tell"
    yield (
        f"The gates {says} groups of texts apart: {gates['bits']:.4f} bits about the group, "
        f"{gates['null']:.4f} where groups are permuted (p = {gates['p_value']:.3f})."
    )
    for name, row in report["roles"]["experts"].items():
        difference = row["silenced"]["difference"]
        yield _SILENCED[outcome(difference)].format(name, interval(difference))
