"""Files of rows: what is written comes back, in other programs too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from latticegraph.errors import ConfigError, DataError
from latticegraph.hub.row_files import RowWriter, read_rows

ROWS = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)


def write(path: Path, rows=ROWS, texts=None, block: int = 3) -> Path:
    writer = RowWriter(path, "code", rows.shape[1])
    writer.open()
    for first in range(0, len(rows), block):
        part = None if texts is None else texts[first : first + block]
        writer.append(rows[first : first + block], part)
    writer.finish()
    return path


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".jsonl"])
def test_rows_come_back(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"rows{suffix}")
    blocks = list(read_rows(path, ["code"], 3, block=2))
    assert [len(block) for block in blocks] == [2, 2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(blocks), ROWS)
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name]


def test_other_programs_read_them(tmp_path: Path) -> None:
    np.testing.assert_array_equal(np.load(write(tmp_path / "a.npy")), ROWS)
    loaded = load_file(write(tmp_path / "a.safetensors"))
    assert list(loaded) == ["code"]
    np.testing.assert_array_equal(loaded["code"], ROWS)
    texts = [f"Zeile {i} 🙂" for i in range(7)]
    lines = write(tmp_path / "a.jsonl", texts=texts).read_text("utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == texts


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".jsonl"])
def test_a_writer_goes_on_behind_what_is_complete(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    writer = RowWriter(path, "code", 3)
    writer.open()
    writer.append(ROWS[:3])
    length = writer.length
    writer.append(np.concatenate([ROWS, ROWS]))  # lost, and longer than what takes its place
    writer.close()
    assert not path.exists()
    again = RowWriter(path, "code", 3)
    again.open(length)
    again.append(ROWS[3:])
    again.finish()
    np.testing.assert_array_equal(np.concatenate(list(read_rows(path, ["code"], 3, 100))), ROWS)
    with pytest.raises(ConfigError, match="--output"):
        RowWriter(path, "code", 3).open(length)


def test_half_precision_and_more_are_read_as_float32(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS.astype(np.float64))
    save_file({"code": ROWS.astype(np.float16)}, tmp_path / "a.safetensors")
    for path, tolerance in (("a.npy", 0), ("a.safetensors", 1e-3)):
        (rows,) = read_rows(tmp_path / path, ["code"], 3, 100)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows, ROWS, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.npy", b"no array", "expected .npy rows"),
        ("a.safetensors", b"\xff" * 20, "expected .safetensors rows"),
        ("a.jsonl", b'{"code": [1, 2, 3]}\n{"code": "x"}\n', "a.jsonl:2"),
        ("a.jsonl", b'{"code": [1, 2]}\n', "expected rows of 3 numbers"),
        ("a.jsonl", b'{"code": [1, NaN, 2]}\n', "a.jsonl:1"),
        ("a.jsonl", b'{"other": [1, 2, 2]}\n', "under code"),
        ("a.jsonl", b"\xff\xfe\n", "expected .jsonl rows"),
        ("a.jsonl", b"[1, 2, 3]\n", "a.jsonl:1"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        list(read_rows(tmp_path / name, ["code"], 3, 100))
    assert says in str(error.value)


def test_pickles_are_refused_and_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    class Trap:
        def __reduce__(self):
            return (trace.write_text, ("ran",))

    np.save(tmp_path / "a.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"expected \.npy rows"):
        list(read_rows(tmp_path / "a.npy", ["code"], 3, 100))
    assert not trace.exists()


def test_numbers_that_are_not_finite_name_their_row(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[4, 1] = np.nan
    np.save(tmp_path / "a.npy", rows)
    with pytest.raises(DataError, match=r"a\.npy:5"):
        list(read_rows(tmp_path / "a.npy", ["code"], 3, 2))


def test_unknown_kinds_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.npy, \.safetensors, \.jsonl"):
        list(read_rows(tmp_path / "a.pt", ["code"], 3, 2))
    with pytest.raises(DataError, match="got none"):
        list(read_rows(tmp_path / "a.npy", ["code"], 3, 2))
