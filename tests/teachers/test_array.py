"""Precomputed embeddings, looked up by text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latticegraph.config import TeacherSettings
from latticegraph.errors import TeacherError
from latticegraph.teachers.array import ArrayTeacher
from latticegraph.teachers.build import build_teacher

ROWS_ND = np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
TEXT = "First line.\n Second line. \nFirst line.\n"


def files(tmp_path: Path, rows: Any = ROWS_ND, text: str = TEXT) -> tuple[Path, Path]:
    np.save(tmp_path / "rows.npy", rows, allow_pickle=True)
    (tmp_path / "lines.txt").write_text(text, encoding="utf-8")
    return tmp_path / "rows.npy", tmp_path / "lines.txt"


def test_array_teacher_gives_the_row_of_the_line(tmp_path: Path) -> None:
    array, texts = files(tmp_path)
    settings = TeacherSettings(
        kind="array", name=str(array), texts=str(texts), dimension=2, normalize=False
    )
    teacher = build_teacher(settings)
    found = teacher.encode(["Second line.", "First line. ", "Second line."])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[0, 2], [3, 4], [0, 2]])


def test_array_teacher_normalizes(tmp_path: Path) -> None:
    found = ArrayTeacher(*files(tmp_path)).encode(["First line.", "Second line."])
    np.testing.assert_allclose(found, np.array([[0.6, 0.8], [0.0, 1.0]]), rtol=1e-6)


def test_array_teacher_reports_progress(tmp_path: Path) -> None:
    counts: list[int] = []
    ArrayTeacher(*files(tmp_path)).encode(["First line."], counts.append)
    assert counts == [1]


def test_array_teacher_fingerprint_follows_both_files(tmp_path: Path) -> None:
    prints = {
        ArrayTeacher(*files(tmp_path)).fingerprint,
        ArrayTeacher(*files(tmp_path), normalize=False).fingerprint,
        ArrayTeacher(*files(tmp_path, rows=ROWS_ND * 2)).fingerprint,
        ArrayTeacher(*files(tmp_path, text=TEXT.lower())).fingerprint,
    }
    assert len(prints) == 4
    assert ArrayTeacher(*files(tmp_path)).fingerprint in prints


def test_array_teacher_refuses_unknown_texts(tmp_path: Path) -> None:
    teacher = ArrayTeacher(*files(tmp_path))
    with pytest.raises(
        TeacherError, match=r"teacher\.texts: expected a row .*, got 2 of 3 .* first 'Third line\.'"
    ):
        teacher.encode(["First line.", "Third line.", "Fourth line."])


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_array_teacher_refuses_rows_without_direction(tmp_path: Path, value: float) -> None:
    teacher = ArrayTeacher(*files(tmp_path, rows=np.array([[1.0, 0], [value, 0], [1, 0]])))
    with pytest.raises(TeacherError, match=r"expected finite embeddings .* in row 1 \(counted"):
        teacher.encode(["First line.", "Second line."])


def test_array_teacher_allows_zero_rows_unnormalized(tmp_path: Path) -> None:
    teacher = ArrayTeacher(*files(tmp_path, rows=ROWS_ND * 0), normalize=False)
    np.testing.assert_array_equal(teacher.encode(["First line."]), [[0, 0]])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros(3), r"expected floats of shape \[texts, dimension\] .*, got float64 \[3\]"),
        (np.zeros((3, 2), dtype=np.int64), r"got int64 \[3, 2\]"),
        (np.zeros((3, 0)), r"got float64 \[3, 0\]"),
        (np.array([{"a": 1}], dtype=object), r"got a file that is damaged or none"),
        (np.zeros((2, 2)), r"teacher\.texts: expected 2 lines in .*, got 3\. Set teacher\.texts"),
    ],
)
def test_array_teacher_refuses_other_arrays(tmp_path: Path, rows: Any, message: str) -> None:
    with pytest.raises(TeacherError, match=message):
        ArrayTeacher(*files(tmp_path, rows=rows))


def test_array_teacher_refuses_archives(tmp_path: Path) -> None:
    _, texts = files(tmp_path)
    np.savez(tmp_path / "rows.npz", ROWS_ND)
    (tmp_path / "rows.npz").rename(tmp_path / "archive.npy")
    with pytest.raises(TeacherError, match=r"expected floats of shape .*, got an archive"):
        ArrayTeacher(tmp_path / "archive.npy", texts)


def test_array_teacher_names_missing_files(tmp_path: Path) -> None:
    array, texts = files(tmp_path)
    with pytest.raises(TeacherError, match=r"teacher\.name: expected floats .*not there"):
        ArrayTeacher(tmp_path / "no.npy", texts)
    with pytest.raises(TeacherError, match=r"teacher\.texts: expected a text file, .*not there"):
        ArrayTeacher(array, tmp_path / "no.txt")


def test_array_teacher_refuses_text_that_is_not_utf8(tmp_path: Path) -> None:
    array, texts = files(tmp_path)
    texts.write_bytes(b"Caf\xe9\n")
    with pytest.raises(TeacherError, match=r"teacher\.texts: expected UTF-8 text in"):
        ArrayTeacher(array, texts)
