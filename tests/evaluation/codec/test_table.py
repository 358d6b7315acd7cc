"""Rows, verdicts and the picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from latticegraph.errors import ConfigError, DataError
from latticegraph.evaluation import PcaBaseline
from latticegraph.evaluation.codec import (
    CodecQuality,
    NotMeasured,
    check_names,
    codec_table,
    codec_verdicts,
    draw_codecs,
    measure_codecs,
    stored,
)


def row(codec, size, explained_variance, recall):
    return {
        "codec": codec,
        "title": codec.upper(),
        "form": f"{size} x int8",
        "bytes": size,
        "explained_variance": explained_variance,
        "recall_at_10": recall,
        "cosine_spearman": 0.9,
    }


ROWS = [
    row("student", 64, 0.7, 0.6),
    row("student", 32, 0.6, 0.5),
    row("student_refined", 64, 0.95, 0.65),
    row("pca", 64, 0.5, 0.65),
    row("opq", 64, 0.9, 0.6),
    row("opq", 30, 0.602, 0.4),
    {"codec": "one_bit", "title": "ONE BIT", "reason": "its extra is missing"},
]


def test_verdicts_name_the_best_opponent_within_the_bytes():
    assert codec_verdicts(ROWS) == [
        "STUDENT at 64 bytes: explained variance 0.700 does not beat OPQ in 64 bytes, 0.900; "
        "recall@10 0.600 does not beat PCA in 64 bytes, 0.650.",
        "STUDENT at 32 bytes: explained variance 0.600 level with OPQ in 30 bytes, 0.602; "
        "recall@10 0.500 beats OPQ in 30 bytes, 0.400.",
        "STUDENT_REFINED at 64 bytes: explained variance 0.950 beats OPQ in 64 bytes, 0.900; "
        "recall@10 0.650 level with PCA in 64 bytes, 0.650.",
    ]


def test_table_shows_rows_verdicts_and_what_was_not_measured():
    console = Console(width=160, record=True, file=io.StringIO())
    counts = {"texts": 1344, "queries": 1344, "pairs": 200_000}
    console.print(codec_table({"counts": counts, "rows": ROWS, "verdicts": ["A verdict."]}))
    text = console.export_text()
    for word in ("1,344 held-out texts", "0.602", "A verdict.", "recall@10"):
        assert word in text
    assert "ONE BIT was not measured: its extra is missing." in text
    assert "STS" not in text


def test_measured_bytes_are_those_of_the_array_and_reasons_are_kept():
    rows = np.random.default_rng(0).normal(size=(40, 6))
    pca = PcaBaseline(5)
    pca.fit(rows, rows)
    told = []
    made = [*stored(pca, rows), NotMeasured("opq", "OPQ", "no faiss")]
    found = measure_codecs(iter(made), CodecQuality(rows, rows.mean(axis=0)), told.append)
    assert [one.get("bytes") for one in found] == [20, 5, 3, None]
    assert found[3] == {"codec": "opq", "title": "OPQ", "reason": "no faiss"}
    assert told == ["PCA, 5 x float32", "PCA, 5 x int8", "PCA, 5 x 4 bit"]
    assert found[0]["explained_variance"] > found[2]["explained_variance"]


def test_codec_that_returns_no_number_is_refused():
    class Broken(PcaBaseline):
        def decode(self, codes_BS):
            return super().decode(codes_BS) * np.nan

    rows = np.random.default_rng(0).normal(size=(40, 6))
    broken = Broken(5)
    broken.fit(rows, rows)
    with pytest.raises(DataError, match="prediction: expected finite numbers"):
        measure_codecs(stored(broken, rows), CodecQuality(rows, rows.mean(axis=0)))


def test_unknown_row_is_refused():
    with pytest.raises(ConfigError, match="--codec: expected some of pca, opq, got 'pq'"):
        check_names(["pq"], ["pca", "opq"])


def test_picture_names_axes_with_units_and_every_codec(tmp_path):
    svg, png = draw_codecs(ROWS, tmp_path / "one")
    text = svg.read_text(encoding="utf-8")
    labels = ("bits per text", "explained variance (share", "recall@10 (share", "OPQ", "STUDENT")
    for label in labels:
        assert label in text
    assert "ONE BIT" not in text
    assert png.read_bytes().startswith(b"\x89PNG")
    again, _ = draw_codecs(ROWS, tmp_path / "two")
    assert again.read_text(encoding="utf-8") == text


def test_picture_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(ConfigError, match="--codec-dir: expected to write"):
        draw_codecs(ROWS, tmp_path / "file")
