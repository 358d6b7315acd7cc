from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from latticegraph.errors import DataError
from latticegraph.evaluation import build_report, write_report


def test_build_report_has_the_agreed_keys(report: dict[str, Any]) -> None:
    assert set(report) >= {
        "student",
        "lattice_off",
        "lattice_off_retrained",
        "baselines",
        "throughput",
        "parameters",
        "steps_used",
        "edges",
        "cache_hit_rate",
        "examples",
    }
    wanted = {"explained_variance", "cosine", "centred_cosine", "mse", "recall_at_1"}
    assert all(set(row) == wanted for row in report["baselines"].values())
    assert set(report["student"]) == wanted


def test_build_report_needs_every_baseline(parts: dict[str, Any]) -> None:
    del parts["baselines"]["pca"]
    with pytest.raises(DataError, match=r"report\.baselines: .* got none for pca"):
        build_report(**parts)


def test_build_report_needs_identity_for_answers(parts: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="got none for identity"):
        build_report(**(parts | {"task": "question_answer"}))


@pytest.mark.parametrize("value", [math.nan, None])
def test_build_report_rejects_missing_or_nan_metric(
    parts: dict[str, Any], value: float | None
) -> None:
    parts["lattice_off"]["mse"] = value
    with pytest.raises(DataError, match=r"report\.lattice_off\.mse: expected a finite number, got"):
        build_report(**parts)


def test_write_report_reads_back_equal(tmp_path: Path, report: dict[str, Any]) -> None:
    json_path, text_path = write_report(tmp_path / "new" / "run", report)
    assert json.loads(json_path.read_text(encoding="utf-8")) == report
    assert "🙂" in json_path.read_text(encoding="utf-8")
    assert text_path.read_text(encoding="utf-8").startswith("# Report\n")
    assert sorted(p.name for p in json_path.parent.iterdir()) == ["report.json", "report.md"]


def test_write_report_keeps_the_old_file_when_interrupted(
    tmp_path: Path, report: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(tmp_path, report)
    before = (tmp_path / "report.json").read_text(encoding="utf-8")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path, report | {"throughput": 1.0})
    assert (tmp_path / "report.json").read_text(encoding="utf-8") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.json", "report.md"]


def test_write_report_rejects_what_json_cannot_hold(tmp_path: Path, report: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="report: expected finite numbers and text, got"):
        write_report(tmp_path, report | {"throughput": math.inf})
    assert list(tmp_path.iterdir()) == []


def test_write_report_names_a_folder_it_cannot_make(tmp_path: Path, report: dict[str, Any]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="expected a writable folder, got"):
        write_report(tmp_path / "file", report)
