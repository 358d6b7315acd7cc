from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from latticegraph.errors import DataError
from latticegraph.evaluation import SimilarityPair, read_sts, sts_spearman

Floats = NDArray[np.float64]

ANGLES = {"a": 0.0, "b": 0.1, "c": 0.5, "d": 1.2, "é 🙂": 1.5}


def encode(texts: Sequence[str]) -> Floats:
    angle = np.array([ANGLES[text] for text in texts])
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


@pytest.fixture
def tsv(tmp_path: Path) -> Path:
    path = tmp_path / "sts.tsv"
    rows = ["index\tsentence1\tsentence2\tscore", "0\ta\tb\t5.0", "1\ta\tc\t3.5", "2\ta\té 🙂\t0"]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_read_sts_tsv_and_jsonl_agree(tsv: Path) -> None:
    pairs = read_sts(tsv)
    assert pairs[2] == SimilarityPair("a", "é 🙂", 0.0)
    path = tsv.with_suffix(".jsonl")
    lines = [{"sentence1": p.first, "sentence2": p.second, "score": p.score} for p in pairs]
    path.write_text("\n\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert read_sts(path) == pairs


def test_read_sts_keeps_quotes(tmp_path: Path) -> None:
    path = tmp_path / "sts.tsv"
    path.write_text('sentence1\tsentence2\tscore\n"a\tb"\t1\nc\td\t2\n', encoding="utf-8")
    assert read_sts(path)[0] == SimilarityPair('"a', 'b"', 1.0)


def test_sts_spearman_follows_or_opposes_the_scores(tsv: Path) -> None:
    assert sts_spearman(tsv, encode) == pytest.approx(1.0)
    opposite = tsv.read_text(encoding="utf-8").replace("5.0", "-5.0").replace("3.5", "-3.5")
    tsv.write_text(opposite, encoding="utf-8")
    assert sts_spearman(tsv, encode) == pytest.approx(-1.0)


def test_sts_spearman_hand_computed(tmp_path: Path) -> None:
    # cosines fall a-b, a-c, a-d; scores rank 2, 3, 1: rho = 1 - 6 * (1 + 1 + 0) / (3 * 8)
    path = tmp_path / "sts.tsv"
    rows = ["sentence1\tsentence2\tscore", "a\tb\t3", "a\tc\t4", "a\td\t1"]
    path.write_text("\n".join(rows), encoding="utf-8")
    assert sts_spearman(path, encode) == pytest.approx(0.5)


def test_sts_spearman_constant_encoder_ranks_nothing(tsv: Path) -> None:
    assert sts_spearman(tsv, lambda texts: np.full((len(texts), 3), 0.1)) == 0.0


def test_sts_spearman_rejects_wrong_number_of_embeddings(tsv: Path) -> None:
    with pytest.raises(DataError, match="encode: expected 6 embeddings, got 2"):
        sts_spearman(tsv, lambda texts: np.ones((2, 3)))


def test_sts_spearman_rejects_equal_scores(tmp_path: Path) -> None:
    path = tmp_path / "sts.tsv"
    path.write_text("sentence1\tsentence2\tscore\na\tb\t2\na\tc\t2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"expected different scores, got only 2\.0"):
        sts_spearman(path, encode)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"", r"expected \.tsv or \.jsonl, got '\.csv'"),
        ("x.tsv", b"sentence1\tscore\na\t1\n", r"x\.tsv:2: expected two sentences and a finite"),
        ("x.tsv", b"sentence1\tsentence2\tscore\na\tb\thigh\n", r"x\.tsv:2: .*'score': 'high'"),
        ("x.tsv", b"sentence1\tsentence2\tscore\na\tb\t1\n", "expected at least 2 pairs, got 1"),
        ("x.tsv", b"sentence1\tsentence2\tscore\n\xff\tb\t1\n", "expected UTF-8 text, got byte"),
        ("x.jsonl", b"\n{oops\n", r"x\.jsonl:2: expected JSON, got"),
        ("x.jsonl", b"[1]\n", r"x\.jsonl:1: expected an object, got list"),
    ],
)
def test_read_sts_names_file_line_and_fault(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_sts(path)


def test_read_sts_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a file, got nothing there"):
        read_sts(tmp_path / "none.tsv")
