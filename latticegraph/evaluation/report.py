"""The report of a run: rows x metrics, and how it reaches the disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import Floats
from latticegraph.evaluation.metric import Metric
from latticegraph.evaluation.report_text import render_markdown
from latticegraph.evaluation.rows import EmbeddingSplit, Row, measure_rows
from latticegraph.files import write_text


def build_report(
    *,
    task: str,
    models: Sequence[Row],
    baselines: Sequence[Row],
    metrics: Sequence[Metric],
    heldout: EmbeddingSplit,
    train_mean_D: Floats,
) -> dict[str, Any]:
    """Measure every row by every metric; the core of ``report.json``.

    Args:
        task: ``reconstruction`` or ``question_answer``.
        models: the student and its controls; each has a key of its own in the report.
        baselines: below the key ``baselines``.
        metrics: columns.
        heldout: embeddings that nothing was fitted to.
        train_mean_D: mean of the training targets.

    Returns:
        ``task``, one key per model, and ``baselines``; ``metrics`` (title and format by name) and
        ``rows`` (title by place) say how to show them.

    Raises:
        DataError: a row predicts another shape or NaN, or a metric is no finite number.
    """
    titles = {row.name: row.title for row in models}
    titles |= {f"baselines.{row.name}": row.title for row in baselines}
    return {
        "task": task,
        **measure_rows(models, metrics, heldout, train_mean_D),
        "baselines": measure_rows(baselines, metrics, heldout, train_mean_D),
        "metrics": {metric.name: _shown(metric) for metric in metrics},
        "rows": titles,
    }


def write_report(folder: str | Path, report: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write ``report.json`` and ``report.md`` into ``folder`` (made where missing).

    Each file appears whole or not at all.

    Args:
        folder: where to write.
        report: made by :func:`build_report`; further keys are kept in the JSON.

    Returns:
        The paths of both files.

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
    files = {folder / "report.json": text, folder / "report.md": render_markdown(report)}
    for path, content in files.items():
        write_text(path, content, "run.output_dir")
    return folder / "report.json", folder / "report.md"


def _shown(metric: Metric) -> dict[str, str]:
    return {"title": metric.title, "format": metric.format}
