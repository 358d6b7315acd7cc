"""The report in words and tables: Markdown for the file, rich for the console."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

LEVEL = 0.005
"""Explained variances closer than this are called level."""


def verdicts(report: Mapping[str, Any]) -> list[str]:
    """Sentences that say whether the student beats PCA, the MLP, and itself without the lattice.

    Args:
        report: made by :func:`~latticegraph.evaluation.report.build_report`.

    Returns:
        One sentence per opponent; they compare held-out explained variance.
    """
    own = report["student"]["explained_variance"]
    opponents = {
        "PCA": report["baselines"]["pca"],
        "the MLP autoencoder": report["baselines"]["mlp_autoencoder"],
        "the same model retrained without the lattice": report["lattice_off_retrained"],
    }
    return [
        _verdict(own, opponent, row["explained_variance"]) for opponent, row in opponents.items()
    ]


def render_markdown(report: Mapping[str, Any]) -> str:
    """The whole report as Markdown; ends with a newline."""
    columns = report["metrics"]
    lines = ["# Report", "", *verdicts(report), "", *_how_to_read(report), ""]
    lines += ["| held out | " + " | ".join(_cell(c["title"]) for c in columns.values()) + " |"]
    lines += ["|---|" + "---:|" * len(columns)]
    for title, row in _rows(report):
        lines.append(f"| {title} | " + " | ".join(_numbers(report, row)) + " |")
    lines += ["", "## The run", ""]
    lines += [f"- {name}: {value}" for name, value in _facts(report)]
    if report["examples"]:
        lines += ["", "## Decoded held-out sentences", ""]
        lines += [line for example in report["examples"] for line in _example(example)]
    return "\n".join(lines) + "\n"


def console_table(report: Mapping[str, Any]) -> Table:
    """The same figures as a table for :class:`rich.console.Console`."""
    table = Table(title="held out", caption="\n".join(verdicts(report)), caption_justify="left")
    table.add_column("")
    for column in report["metrics"].values():
        table.add_column(column["title"], justify="right")
    for title, row in _rows(report):
        style = "bold" if row is report["student"] else None
        table.add_row(title, *_numbers(report, row), style=style)
    return table


def _verdict(own: float, opponent: str, other: float) -> str:
    if abs(own - other) < LEVEL:
        relation = f"does not beat {opponent}, the two are level"
    else:
        relation = f"{'beats' if own > other else 'does not beat'} {opponent}"
    return f"The student {relation}: {own:.3f} against {other:.3f} explained variance."


def _how_to_read(report: Mapping[str, Any]) -> list[str]:
    mean = report["baselines"]["mean"]
    return [
        "All figures are of held-out text that nothing was trained on. Explained variance counts "
        "most: 1 is the teacher itself, 0 is always predicting the mean of the training "
        "embeddings, below 0 is worse than that. Raw MSE and cosine prove little: the mean alone "
        f"reaches MSE {mean['mse']:.5f} and cosine {mean['cosine']:.3f}. Centred cosine compares "
        "directions about that mean. Recall@1 is the share of samples whose own teacher vector is "
        "nearest to the prediction.",
        "",
        "PCA and the autoencoders pass through as many numbers as the cube's surface. \"Lattice "
        'switched off" is the trained model with its dynamics replaced by identity: a constant by '
        'construction, which proves nothing. "Retrained without lattice" is the same model with a '
        "plain copy from front to back, a linear autoencoder where the projections are linear. A "
        "gain over it shows that a nonlinear map helps, not that the dynamics were learned: for "
        "that, compare with a run whose phases train the projections only.",
    ]


def _rows(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Title and values of every row, baselines last."""
    for place, title in report["rows"].items():
        group, _, name = place.rpartition(".")
        yield title, report[group][name] if group else report[name]


def _numbers(report: Mapping[str, Any], row: Mapping[str, float]) -> list[str]:
    return [format(row[name], shown["format"]) for name, shown in report["metrics"].items()]


def _cell(title: str) -> str:
    return title.replace("|", "\\|")


def _facts(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "task", report["task"]
    yield "throughput", f"{report['throughput']:.1f} samples/s"
    yield "parameters", f"{report['parameters']:,}"
    yield "lattice steps used (mean)", f"{report['steps_used']:.2f}"
    yield "edges", ", ".join(f"{name} {count:,}" for name, count in report["edges"].items())
    yield "embeddings found in the cache", f"{report['cache_hit_rate']:.1%}"


def _example(example: Mapping[str, Any]) -> Iterator[str]:
    yield f"- source: {_line(example['source'])}"
    if example["target"] != example["source"]:
        yield f"  - target: {_line(example['target'])}"
    yield f"  - decoded ({example['cosine']:.3f}): {_line(example['decoded'])}"


def _line(text: str) -> str:
    """Text on one line, with Markdown's own signs made harmless."""
    plain = " ".join(text.split())
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>#|" else sign for sign in plain)
