"""Folders of the package datasets as text."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from latticegraph.data.load import check_source, load_file, load_source
from latticegraph.errors import DataError


def test_a_saved_dataset_gives_its_rows(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"text": ["One.", "Two 🙂."], "label": [1, None]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "one")
    check_source(str(tmp_path / "one"))
    assert [s.source for s in load_source(str(tmp_path / "one"), "reconstruction")] == rows["text"]


def test_splits_are_read_one_after_the_other_and_faults_name_their_row(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    pairs = {"question": ["Why?", "How?"], "answer": ["So.", "Thus."]}
    further = {"question": ["Who?", "Where?"], "answer": ["I.", ""]}
    parts = {"a": datasets.Dataset.from_dict(pairs), "b": datasets.Dataset.from_dict(further)}
    folder = tmp_path / "two"
    datasets.DatasetDict(parts).save_to_disk(folder)
    with pytest.raises(DataError, match=rf"{folder / 'b'}:2.* answer"):
        load_file(folder, "question_answer")
    datasets.DatasetDict({"a": parts["a"]}).save_to_disk(tmp_path / "good")
    found = load_file(tmp_path / "good", "question_answer")
    assert [(s.source, s.target) for s in found] == [("Why?", "So."), ("How?", "Thus.")]


def test_a_damaged_or_unreadable_dataset_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("state.json", "dataset_info.json"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'latticegraph\[datasets\]'"):
        load_file(tmp_path, "reconstruction")
    monkeypatch.undo()
    pytest.importorskip("datasets")
    with pytest.raises(DataError, match=r"expected a folder that save_to_disk of datasets wrote"):
        load_file(tmp_path, "reconstruction")
