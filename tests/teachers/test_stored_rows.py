"""Files of precomputed embeddings: what is read, and what is refused without running any code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from latticegraph.config import TeacherSettings, load_config
from latticegraph.errors import ConfigError, TeacherError
from latticegraph.teachers.build import build_teacher
from latticegraph.teachers.stored_rows import open_rows

ROWS_ND = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0], [5.0, 6.0]])


class Trace:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def teacher(path: Path, texts: Path | None = None) -> Any:
    settings = {"kind": "array", "name": str(path), "dimension": 2, "normalize": False}
    own = None if texts is None else str(texts)
    return build_teacher(TeacherSettings.model_validate(settings | {"texts": own}))


def test_rows_of_safetensors_belong_to_the_lines_of_the_text(tmp_path: Path) -> None:
    texts = tmp_path / "lines.txt"
    texts.write_text("a\nb\nc\nd\n", encoding="utf-8")
    for name, tensors in (
        ("one", {"anything": ROWS_ND}),
        ("two", {"embeddings": ROWS_ND, "other": torch.zeros(1)}),
        ("half", {"embeddings": ROWS_ND.half()}),
    ):
        save_file(tensors, tmp_path / f"{name}.safetensors")
        found = teacher(tmp_path / f"{name}.safetensors", texts).encode(["d", "a"])
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, [[5, 6], [3, 4]])


def test_a_folder_of_tensor_caches_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for number, rows in ((2, ROWS_ND[:1]), (10, ROWS_ND[1:3]), (11, ROWS_ND[3:].bfloat16())):
        torch.save(rows, tmp_path / f"part{number}.pt")
    found = open_rows(tmp_path)
    assert len(found) == 4
    assert found.texts is None
    np.testing.assert_array_equal(found.take([3, 0, 2, 1, 3]), ROWS_ND[[3, 0, 2, 1, 3]])


def test_tensor_caches_may_hold_their_texts(tmp_path: Path) -> None:
    torch.save({"embeddings": ROWS_ND[:3], "texts": ["a", " b ", "c"]}, tmp_path / "0.pt")
    torch.save({"embeddings": ROWS_ND[3:], "texts": ["d 🙂"]}, tmp_path / "1.pt")
    found = teacher(tmp_path).encode(["d 🙂", "b"])
    np.testing.assert_array_equal(found, [[5, 6], [0, 2]])
    fingerprint = teacher(tmp_path).fingerprint
    torch.save({"embeddings": ROWS_ND[3:] + 1, "texts": ["d 🙂"]}, tmp_path / "1.pt")
    assert teacher(tmp_path).fingerprint != fingerprint


def test_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    torch.save({"embeddings": ROWS_ND, "texts": Trace(trace)}, tmp_path / "a.pt")
    with pytest.raises(TeacherError, match=r"got a pickle of something else, which is not loaded"):
        open_rows(tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Trace(trace)))
    with pytest.raises(TeacherError, match=r"got a (pickle|file that is damaged)"):
        open_rows(tmp_path / "b.pt")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"embeddings": ROWS_ND, "texts": ["a"]}, r"1 texts for 4 rows"),
        ({"embeddings": ROWS_ND, "texts": [1, 2, 3, 4]}, r"no list of strings"),
        ({"rows": ROWS_ND}, r"NoneType in place of a tensor"),
        (ROWS_ND[0], r"got float32 \[2\]"),
        (ROWS_ND.long(), r"got int64 \[4, 2\]"),
        (ROWS_ND[:, :0], r"got float32 \[4, 0\]"),
    ],
)
def test_other_tensors_are_refused_by_the_name_of_the_file(
    content: Any, message: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "wrong.pt")
    with pytest.raises(TeacherError, match=rf"{message}.*wrong\.pt"):
        open_rows(tmp_path)


def test_files_of_a_folder_must_agree(tmp_path: Path) -> None:
    torch.save({"embeddings": ROWS_ND, "texts": list("abcd")}, tmp_path / "0.pt")
    torch.save(ROWS_ND, tmp_path / "1.pt")
    with pytest.raises(TeacherError, match=r"texts in some files only .*1\.pt"):
        open_rows(tmp_path)
    torch.save({"embeddings": ROWS_ND[:, :1], "texts": list("abcd")}, tmp_path / "1.pt")
    with pytest.raises(TeacherError, match=r"rows of 1 numbers after rows of 2 .*1\.pt"):
        open_rows(tmp_path)


def test_what_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"a folder without \.pt files"):
        open_rows(tmp_path)
    (tmp_path / "rows.csv").write_text("1,2\n", encoding="utf-8")
    with pytest.raises(TeacherError, match=r"got the suffix '\.csv'"):
        open_rows(tmp_path / "rows.csv")
    save_file({"a": ROWS_ND, "b": ROWS_ND + 1}, tmp_path / "two.safetensors")
    with pytest.raises(TeacherError, match=r"got the tensors a, b .*Name one of them 'embeddings'"):
        open_rows(tmp_path / "two.safetensors")
    for suffix in (".pt", ".npy", ".safetensors"):
        (tmp_path / f"cut{suffix}").write_bytes(b"\x80\x02garbage")
        with pytest.raises(TeacherError, match=rf"got a .*cut\{suffix}"):
            open_rows(tmp_path / f"cut{suffix}")


def test_rows_without_texts_ask_for_the_text_file(tmp_path: Path) -> None:
    torch.save(ROWS_ND, tmp_path / "rows.pt")
    with pytest.raises(TeacherError, match=r"teacher\.texts: expected the text file that owns"):
        teacher(tmp_path / "rows.pt")
    with pytest.raises(ConfigError, match=r"texts: expected the text file"):
        load_config(None, ["teacher.kind=array", "teacher.name=rows.safetensors"])
