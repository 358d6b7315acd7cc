"""A metric from outside the package reaches the report and the log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latticegraph import evaluate
from latticegraph.errors import ConfigError

VARIANTS = {
    "float32-spmm": ("model.aggregation=spmm",),
    "float32-fft": ("model.aggregation=fft",),
    "float32-scatter": ("model.aggregation=scatter",),
    "bfloat16": ("training.precision=bfloat16",),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_metric_of_the_page_is_everywhere(train_page, variant):
    _, outcome = train_page("write_a_metric.md", *VARIANTS[variant])
    run_dir = Path(outcome["run_dir"])
    report = json.loads((run_dir / "report.json").read_text(encoding="utf-8"))
    rows = [report["student"], report["lattice_off"], *report["baselines"].values()]
    assert all(row["median_error"] > 0 for row in rows)
    text = (run_dir / "report.md").read_text(encoding="utf-8")
    assert "| median error |" in text
    assert f" {report['student']['median_error']:.4f} |" in text
    lines = (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    validations = [row for row in records if row["kind"] == "validation"]
    assert validations
    assert all(row["median_error"] > 0 for row in validations)


def test_evaluate_runs_the_class_of_a_run_only_where_it_is_trusted(train_page):
    _, outcome = train_page("write_a_metric.md")
    with pytest.raises(ConfigError, match=r"pass trust=\['my_metric.py:MedianError'\]"):
        evaluate(outcome["run_dir"], ["text.txt"])
