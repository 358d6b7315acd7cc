"""A comparison over seeds as a table, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from latticegraph.evaluation.verdicts import enough_text, interval, outcome, too_little


def comparison_table(result: Mapping[str, Any]) -> Table:
    """A row per model: mean and deviation over seeds, and the verdict below.

    Args:
        result: of :func:`~latticegraph.pipeline.compare_runs.compare`.
    """
    table = Table(
        title=f"held out, seeds 0 to {result['seeds'] - 1}",
        caption="\n".join(comparison_lines(result)),
        caption_justify="left",
    )
    one, two = (model["metrics"] for model in result["models"].values())
    names = [name for name in one if name in two]
    for column in ("", "parameters", *names):
        table.add_column(column.replace("_", " "), justify="right" if column else "left")
    for name, model in result["models"].items():
        cells = [_spread(model["metrics"][metric]) for metric in names]
        table.add_row(name, f"{model['parameters']:,}", *cells)
    return table


def comparison_lines(result: Mapping[str, Any]) -> list[str]:
    """The difference with both intervals, and a verdict that needs both of them.

    Args:
        result: of :func:`~latticegraph.pipeline.compare_runs.compare`.
    """
    (one, two), found = result["models"], result["difference"]
    seeds = found["over_seeds"]
    both = {outcome(seeds), outcome(found["over_groups"])}
    if not enough_text(result["heldout"]):
        verdict = too_little(result["heldout"])
    elif seeds["low"] is None:
        verdict = "No verdict: an interval over seeds needs at least 2 seeds."
    elif both == {1}:
        verdict = f"{one} is ahead of {two}."
    elif both == {-1}:
        verdict = f"{one} is behind {two}."
    else:
        verdict = f"No measurable difference between {one} and {two}."
    groups = interval(found["over_groups"])
    lines = [f"explained variance, {one} minus {two}:"]
    if seeds["low"] is not None:
        lines.append(f"  {interval(seeds)} over seeds")
    return [*lines, f"  {groups} over held-out groups", verdict]


def _spread(values: Mapping[str, Any]) -> str:
    mean, deviation = values["mean"], values["deviation"]
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"
