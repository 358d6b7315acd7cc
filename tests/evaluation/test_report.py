from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from latticegraph.errors import ConfigError, DataError
from latticegraph.evaluation import EmbeddingSplit, build_report, report_metrics, write_report

FILES = ["charts", "report.html", "report.json", "report.md"]


class Shifted:
    """A row whose predictions are off by a constant."""

    parameters = 7

    def __init__(self, name: str, shift: float) -> None:
        self.name, self.title, self.shift = name, name.upper(), shift

    def predict(self, source_ND: NDArray[np.float64], /) -> NDArray[np.float64]:
        return source_ND + self.shift


def test_build_report_is_rows_times_metrics(curved: NDArray[np.float64]) -> None:
    made = build_report(
        task="question_answer",
        models=(Shifted("student", 0.5), Shifted("other", 2.0)),
        baselines=(Shifted("pca", 0.0),),
        metrics=report_metrics("question_answer", ()),
        attribution=(Shifted("frozen_lattice", 1.0),),
        heldout=EmbeddingSplit.of("heldout", curved, curved),
        groups=[str(index // 20) for index in range(len(curved))],
        train_mean_D=curved.mean(axis=0),
    )
    assert made["rows"] == {
        "student": "STUDENT",
        "other": "OTHER",
        "baselines.pca": "PCA",
        "attribution.frozen_lattice": "FROZEN_LATTICE",
    }
    assert made["heldout"] == {"samples": 600, "groups": 30}
    frozen, spread = made["attribution"]["frozen_lattice"], curved.var(axis=0).mean()
    assert frozen["parameters"] == 7
    assert frozen["difference"]["explained_variance"] == pytest.approx((1 - 0.25) / spread)
    gap = made["student"]["explained_variance"] - frozen["explained_variance"]
    assert frozen["difference"]["explained_variance"] == pytest.approx(gap)
    assert set(made["differences"]) == {"other", "pca"}
    assert made["differences"]["pca"]["high"] < 0 < frozen["difference"]["low"]
    assert [made[name]["mse"] for name in ("student", "other")] == pytest.approx([0.25, 4.0])
    assert made["baselines"]["pca"]["explained_variance"] == 1
    wanted = {"explained_variance", "cosine", "centred_cosine", "mse", "recall_at_1"}
    assert set(made["other"]) == set(made["metrics"]) == wanted | {"mrr", "recall_at_10"}


def test_build_report_rejects_nan(curved: NDArray[np.float64]) -> None:
    with pytest.raises(DataError, match="prediction: expected finite numbers"):
        build_report(
            task="reconstruction",
            models=(Shifted("student", math.nan),),
            baselines=(),
            metrics=report_metrics("reconstruction", ()),
            heldout=EmbeddingSplit.of("heldout", curved, curved),
            groups=[str(index // 20) for index in range(len(curved))],
            train_mean_D=curved.mean(axis=0),
        )


def test_write_report_reads_back_equal(tmp_path: Path, report: dict[str, Any]) -> None:
    json_path, text_path = write_report(tmp_path / "new" / "run", report)
    assert json.loads(json_path.read_text(encoding="utf-8")) == report
    assert "🙂" in json_path.read_text(encoding="utf-8")
    assert text_path.read_text(encoding="utf-8").startswith("# Report\n")
    assert sorted(p.name for p in json_path.parent.iterdir()) == FILES


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
    assert sorted(p.name for p in tmp_path.iterdir()) == FILES


def test_write_report_rejects_what_json_cannot_hold(tmp_path: Path, report: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="report: expected finite numbers and text, got"):
        write_report(tmp_path, report | {"throughput": math.inf})
    assert list(tmp_path.iterdir()) == []


def test_write_report_names_a_folder_it_cannot_make(tmp_path: Path, report: dict[str, Any]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"run\.output_dir: expected to write .*, got"):
        write_report(tmp_path / "file", report)
