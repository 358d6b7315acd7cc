"""The report of a run: what is in it, and how it reaches the disk."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latticegraph.errors import DataError
from latticegraph.evaluation.report_text import render_markdown

Metrics = Mapping[str, float]

METRICS = ("explained_variance", "cosine", "centred_cosine", "mse", "recall_at_1")
ANSWER_METRICS = ("mrr", "recall_at_10")
BASELINES = ("mean", "pca", "linear_autoencoder", "mlp_autoencoder")


def build_report(
    *,
    task: str,
    student: Metrics,
    lattice_off: Metrics,
    lattice_off_retrained: Metrics,
    baselines: Mapping[str, Metrics],
    throughput: float,
    parameters: int,
    steps_used: float,
    edges: Mapping[str, int],
    cache_hit_rate: float,
    examples: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Collect and check everything that ``report.json`` holds.

    Args:
        task: ``reconstruction`` or ``question_answer``.
        student: held-out metrics of the trained model.
        lattice_off: of the same weights with identity dynamics.
        lattice_off_retrained: of the same model trained again without the lattice.
        baselines: by name: mean, pca, linear_autoencoder, mlp_autoencoder, and identity for
            question_answer.
        throughput: held-out samples per second through the student.
        parameters: trained numbers of the student.
        steps_used: mean number of lattice steps per sample.
        edges: number of edges by type.
        cache_hit_rate: share of texts whose embedding was already on disk, 0 to 1.
        examples: decoded held-out sentences: source, target and decoded text, and cosine.

    Returns:
        A dict with one key per argument, ready for :func:`write_report`.

    Raises:
        DataError: for a missing baseline, or a metric that is missing or no finite number.
    """
    answers = task == "question_answer"
    wanted = METRICS + (ANSWER_METRICS if answers else ())
    names = BASELINES + (("identity",) if answers else ())
    missing = [name for name in names if name not in baselines]
    if missing:
        raise DataError(
            "report.baselines",
            f"expected {', '.join(names)}, got none for {', '.join(missing)}",
            "Measure every baseline of the task",
        )
    rows = {
        "student": student,
        "lattice_off": lattice_off,
        "lattice_off_retrained": lattice_off_retrained,
    }
    rows |= {f"baselines.{name}": baselines[name] for name in names}
    for where, metrics in rows.items():
        _check_metrics(f"report.{where}", metrics, wanted)
    return {
        "task": task,
        "student": dict(student),
        "lattice_off": dict(lattice_off),
        "lattice_off_retrained": dict(lattice_off_retrained),
        "baselines": {name: dict(baselines[name]) for name in names},
        "throughput": throughput,
        "parameters": parameters,
        "steps_used": steps_used,
        "edges": dict(edges),
        "cache_hit_rate": cache_hit_rate,
        "examples": [dict(example) for example in examples],
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
        DataError: when the report holds a number that JSON cannot, or the folder cannot be written.
    """
    folder = Path(folder)
    try:
        text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise DataError(
            "report", f"expected finite numbers and text, got: {error}", "Check what was measured"
        ) from error
    files = {folder / "report.json": text, folder / "report.md": render_markdown(report)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            _write_atomically(path, content)
    except OSError as error:
        raise DataError(
            str(folder),
            f"expected a writable folder, got: {error}",
            "Choose another run.output_dir",
        ) from error
    return folder / "report.json", folder / "report.md"


def _check_metrics(where: str, metrics: Metrics, wanted: Sequence[str]) -> None:
    for name in wanted:
        value = metrics.get(name)
        if value is None or not math.isfinite(value):
            raise DataError(
                f"{where}.{name}", f"expected a finite number, got {value}", "Measure it again"
            )


def _write_atomically(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
