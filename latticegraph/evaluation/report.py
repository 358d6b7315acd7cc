"""The report of a run: rows x metrics, and how it reaches the disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import Floats
from latticegraph.evaluation.bootstrap import Difference, GroupBootstrap
from latticegraph.evaluation.charts import FOLDER as CHARTS
from latticegraph.evaluation.charts import draw_charts
from latticegraph.evaluation.html_page import render_html
from latticegraph.evaluation.metric import Metric
from latticegraph.evaluation.report_text import render_markdown
from latticegraph.evaluation.rows import EmbeddingSplit, MeasuredRow, Row, SizedRow, measure_row
from latticegraph.files import write_bytes


def build_report(
    *,
    task: str,
    models: Sequence[Row],
    baselines: Sequence[Row],
    metrics: Sequence[Metric],
    heldout: EmbeddingSplit,
    groups: Sequence[str],
    train_mean_D: Floats,
    attribution: Sequence[SizedRow] = (),
) -> dict[str, Any]:
    """Measure every row by every metric; the core of ``report.json``.

    Args:
        task: ``reconstruction`` or ``question_answer``.
        models: the student and its controls; each has a key of its own in the report.
        baselines: below the key ``baselines``.
        metrics: columns; explained variance is among them.
        heldout: embeddings that nothing was fitted to.
        groups: the group of every held-out sample.
        train_mean_D: mean of the training targets.
        attribution: rows below the key ``attribution``, each with ``parameters`` and ``difference``
            (student minus row).

    Returns:
        ``task``, a key per model, ``baselines``, ``attribution``; ``differences``, with intervals,
        of the student and other models or baselines; ``heldout`` (samples, groups); ``metrics``
        (title and format by name) and ``rows`` (title by place).

    Raises:
        DataError: a row predicts another shape or NaN, or a metric is no finite number.
    """
    rows: dict[str, Row] = {row.name: row for row in models}
    rows |= {f"baselines.{row.name}": row for row in baselines}
    rows |= {f"attribution.{row.name}": row for row in attribution}
    measured = {
        place: measure_row(row, metrics, heldout, train_mean_D) for place, row in rows.items()
    }
    bootstrap = GroupBootstrap(groups, np.square(heldout.target_ND - train_mean_D).sum(axis=1))
    errors = {place: one.error_N for place, one in measured.items()}
    found = bootstrap.differences(errors.pop(models[0].name), errors)
    return {
        "task": task,
        **{row.name: measured[row.name].metrics for row in models},
        "baselines": {row.name: measured[f"baselines.{row.name}"].metrics for row in baselines},
        "attribution": {row.name: _attributed(row, measured, found) for row in attribution},
        "differences": {
            place.removeprefix("baselines."): found[place].to_json()
            for place in found
            if not place.startswith("attribution.")
        },
        "heldout": {"samples": bootstrap.samples, "groups": bootstrap.groups},
        "metrics": {metric.name: _shown(metric) for metric in metrics},
        "rows": {place: row.title for place, row in rows.items()},
    }


def write_report(folder: str | Path, report: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write ``report.json``, ``report.md``, ``report.html`` and ``charts/`` into ``folder``.

    Each file appears whole or not at all.

    Args:
        folder: where to write; made where missing.
        report: made by :func:`build_report`, with what the run adds.

    Returns:
        The paths of ``report.json`` and ``report.md``.

    Raises:
        DataError: when the report holds a number that JSON cannot.
        ConfigError: when the folder cannot be written.
    """
    folder = Path(folder)
    try:
        text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise DataError(
            "report", f"expected finite numbers and text, got: {error}", "Check what was measured"
        ) from error
    charts = draw_charts(report)
    pictures = [f"{CHARTS}/{name}" for name in charts if name.endswith(".svg")]
    files = {
        **{folder / CHARTS / name: content for name, content in charts.items()},
        folder / "report.json": text.encode(),
        folder / "report.md": render_markdown(report, pictures).encode(),
        folder / "report.html": render_html(report, charts).encode(),
    }
    for path, content in files.items():
        write_bytes(path, content, "run.output_dir")
    return folder / "report.json", folder / "report.md"


def _attributed(
    row: SizedRow, measured: Mapping[str, MeasuredRow], found: Mapping[str, Difference]
) -> dict[str, Any]:
    place = f"attribution.{row.name}"
    difference = found[place].to_json()
    return {**measured[place].metrics, "parameters": row.parameters, "difference": difference}


def _shown(metric: Metric) -> dict[str, str]:
    return {"title": metric.title, "format": metric.format}
