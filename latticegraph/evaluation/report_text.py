"""The report in words and tables: Markdown for the file, rich for the console."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from latticegraph.evaluation.verdicts import best_update, interval, verdicts


def render_markdown(report: Mapping[str, Any], charts: Sequence[str] = ()) -> str:
    """The whole report as Markdown; ends with a newline.

    Args:
        report: made by :func:`~latticegraph.evaluation.report.build_report`, with what the run
            adds: ``training``, ``command``, ``date``, ``examples``, counts and times.
        charts: paths of pictures, relative to the file.
    """
    columns = report["metrics"]
    lines = ["# Report", ""]
    lines += [f"- {sentence}" for sentence in (*verdicts(report), best_update(report))]
    lines += ["", *how_to_read(report), ""]
    lines += ["| held out | " + " | ".join(_cell(c["title"]) for c in columns.values()) + " |"]
    lines += ["|---|" + "---:|" * len(columns)]
    for title, row in table_rows(report):
        lines.append(f"| {title} | " + " | ".join(numbers(report, row)) + " |")
    lines += [line for path in charts for line in ("", f"![{path}]({path})")]
    if report["roles"]:
        lines += ["", "## Experts", "", *EXPERT_NOTE, ""]
        lines += ["| " + " | ".join(EXPERT_COLUMNS) + " |", "|---|---:|---:|---|"]
        lines += ["| " + " | ".join(row) + " |" for row in expert_rows(report)]
    lines += ["", "## The run", ""]
    for name, value in facts(report):
        lines.append(f"- {name}: `{value}`" if name == "command" else f"- {name}: {value}")
    if report["examples"]:
        lines += ["", "## Decoded held-out sentences", ""]
        for example in report["examples"]:
            for number, (name, text) in enumerate(example_lines(example)):
                lines.append(f"{'  ' if number else ''}- {name}: {_line(text)}")
    return "\n".join(lines) + "\n"


EXPERT_COLUMNS = ("expert", "mean gate", "explained variance without it", "lost")
EXPERT_NOTE = (
    "An expert is silenced by setting its update to 0 in every step; its gate stays. What is lost "
    "is its part in the trained model; a model trained without it may reach more.",
)


def expert_rows(report: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Name, mean gate, explained variance where it is silenced, and the loss of every expert."""
    for name, row in report["roles"]["experts"].items():
        silenced = row["silenced"]
        values = f"{row['share']:.3f}", f"{silenced['explained_variance']:.3f}"
        yield (_cell(name), *values, interval(silenced["difference"]))


def console_table(report: Mapping[str, Any]) -> Table:
    """The same figures as a table for :class:`rich.console.Console`."""
    caption = "\n".join([*verdicts(report), best_update(report)])
    table = Table(title="held out", caption=caption, caption_justify="left")
    table.add_column("")
    for column in report["metrics"].values():
        table.add_column(column["title"], justify="right")
    for title, row in table_rows(report):
        style = "bold" if row is report["student"] else None
        table.add_row(title, *numbers(report, row), style=style)
    return table


def how_to_read(report: Mapping[str, Any]) -> list[str]:
    """What the figures and rows mean, in paragraphs."""
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
        "gain over it shows that a nonlinear map helps, not that the dynamics were learned: the "
        'row "frozen lattice" tells that, the same model trained with experts and gates at their '
        'random start. "Untrained lattice" is the start of the run, "random features" a PCA code '
        'read through fixed random units, "decoder network" a linear code with one trained hidden '
        "layer behind it and as many parameters as the student.",
        "",
        "An interval holds 95% of paired bootstrap differences over held-out groups. It covers the "
        "choice of the held-out text and not that of the seed; compare seeds for that.",
    ]


def table_rows(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Title and values of every row, baselines last."""
    for place, title in report["rows"].items():
        group, _, name = place.rpartition(".")
        yield title, report[group][name] if group else report[name]


def numbers(report: Mapping[str, Any], row: Mapping[str, float]) -> list[str]:
    """The metrics of a row, as its columns show them."""
    return [format(row[name], shown["format"]) for name, shown in report["metrics"].items()]


def facts(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and value of what else there is to say about a run."""
    inside = report["lattice_parameters"]
    yield "task", report["task"]
    held = report["heldout"]
    yield "held out", f"{held['samples']:,} samples in {held['groups']:,} groups"
    yield "parameters", f"{report['parameters']:,}"
    yield "of these in the lattice", f"{inside:,}, outside it {report['parameters'] - inside:,}"
    for name, row in report["attribution"].items():
        yield f"parameters of {report['rows'][f'attribution.{name}']}", f"{row['parameters']:,}"
    yield "throughput", f"{report['throughput']:.1f} samples/s"
    yield "lattice steps used (mean)", f"{report['steps_used']:.2f}"
    yield "edges", ", ".join(f"{name} {count:,}" for name, count in report["edges"].items())
    yield "embeddings found in the cache", f"{report['cache_hit_rate']:.1%}"
    yield "command", report["command"]
    yield "date", report["date"]


def example_lines(example: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and text of every line of a decoded example."""
    yield "source", example["source"]
    if example["target"] != example["source"]:
        yield "target", example["target"]
    found = f"nearest of {example['searched']:,} sentences"
    if example["is_target"]:
        yield f"{found} ({example['cosine']:.3f})", "the target itself, which is among them"
    else:
        yield f"{found} ({example['cosine']:.3f}), not the target", example["decoded"]
    if example["is_target"] and example["nearest_other"] is not None:
        yield (
            f"nearest without the target ({example['other_cosine']:.3f})",
            example["nearest_other"],
        )


def _cell(title: str) -> str:
    return title.replace("|", "\\|")


def _line(text: str) -> str:
    """Text on one line, with Markdown's own signs made harmless."""
    plain = " ".join(text.split())
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>#|" else sign for sign in plain)
