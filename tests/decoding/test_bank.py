from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticegraph.decoding import KnownTeacher, TextDecoder, bank
from latticegraph.decoding.bank import BankDecoder
from latticegraph.decoding.bank_files import OFFSETS, ROWS, TEXTS, read_bank, write_bank
from latticegraph.errors import CheckpointError, ConfigError, DataError, TeacherError

WIDTH = 5
TEACHER = KnownTeacher(name="own", dimension=WIDTH, fingerprint="a" * 64)


def texts_of(count: int) -> list[str]:
    return [f"Satz Nummer {i}, schön 🙂" for i in range(count)]


def make(folder: Path, rows: np.ndarray, texts: list[str], block: int = 7) -> BankDecoder:
    starts = range(0, len(texts), block)
    write_bank(folder, ((texts[i : i + block], rows[i : i + block]) for i in starts), TEACHER)
    return BankDecoder.open(folder)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    rows = np.random.default_rng(0).normal(size=(40, WIDTH)).astype(np.float32)
    make(tmp_path / "bank", rows, texts_of(40))
    return tmp_path / "bank"


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    rows=st.integers(1, 40),
    queries=st.integers(1, 9),
    ties=st.booleans(),
)
def test_bank_ranks_as_the_float64_reference(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int, queries: int, ties: bool
) -> None:
    random = np.random.default_rng(seed)
    rows_ND = random.normal(size=(40, WIDTH)).astype(np.float32)
    if ties:  # many equal cosines, some of them of rows that differ in length
        rows_ND = np.sign(rows_ND).astype(np.float32) * random.integers(0, 3, size=(40, 1))
        rows_ND = rows_ND.astype(np.float32)
    query = random.normal(size=(12, WIDTH))
    query[3] = 0
    opened = make(tmp_path_factory.mktemp("bank") / "bank", rows_ND, texts_of(40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bank, "BLOCK_ROWS", rows)
        patch.setattr(bank, "BLOCK_QUERIES", queries)
        for k in (1, 4, 40):
            assert opened.decode(query, k) == TextDecoder(texts_of(40), rows_ND).decode(query, k)


def test_near_ties_are_ranked_in_float64(tmp_path: Path) -> None:
    """Two rows whose cosines with the query differ by less than float32 can show."""
    rows = np.ones((2, WIDTH), dtype=np.float32)
    rows[1, 0] = np.nextafter(np.float32(1), np.float32(2))
    query = np.array([[1 + 1e-3, 1, 1, 1, 1]])
    opened = make(tmp_path / "bank", rows, texts_of(2))
    (best, second) = opened.decode(query, 2)[0]
    exact = TextDecoder(texts_of(2), rows).decode(query, 2)[0]
    assert [best, second] == exact


def test_repeats_count_once_and_texts_come_back(tmp_path: Path) -> None:
    rows = np.eye(4, WIDTH, dtype=np.float32)
    opened = make(tmp_path / "bank", rows, ["ä", "b\nc", "ä", "d"], block=2)
    assert opened.most == 3
    assert opened.decode(rows, 1)[3][0].text == "d"
    files = read_bank(tmp_path / "bank")
    assert [files.text(i) for i in range(3)] == ["ä", "b\nc", "d"]


@pytest.mark.parametrize("name", [ROWS, TEXTS, OFFSETS])
@pytest.mark.parametrize("change", ["byte", "short", "missing"])
def test_damaged_bank_is_refused(stored: Path, name: str, change: str) -> None:
    path = stored / name
    data = bytearray(path.read_bytes())
    if change == "missing":
        path.unlink()
    else:
        data[-1] ^= 1
        path.write_bytes(data if change == "byte" else data[:-8])
    with pytest.raises(CheckpointError, match="whole file of this bank"):
        BankDecoder.open(stored)


def test_bank_json_is_strict(stored: Path, tmp_path: Path) -> None:
    tree = json.loads((stored / "bank.json").read_text("utf-8"))
    for change in ({"version": 2}, {"more": 1}, {"sentences": 0}, {"sha256": {}}):
        (stored / "bank.json").write_text(json.dumps(tree | change), encoding="utf-8")
        with pytest.raises(CheckpointError, match=r"bank\.json"):
            BankDecoder.open(stored)
    with pytest.raises(CheckpointError, match="the folder of a bank"):
        BankDecoder.open(tmp_path)


def test_bank_knows_its_teacher(stored: Path) -> None:
    opened = BankDecoder.open(stored)
    opened.teacher.check("bank", "own", "a" * 64)
    with pytest.raises(TeacherError, match=r"'own'.*got those of 'other'"):
        opened.teacher.check("bank", "other", "b" * 64)


def test_writing_is_whole_or_not_at_all(tmp_path: Path) -> None:
    rows = np.ones((2, WIDTH), dtype=np.float32)
    with pytest.raises(DataError, match="one row per text"):
        write_bank(tmp_path / "bank", [(["a", "b"], rows), (["c"], rows)], TEACHER)
    with pytest.raises(DataError, match="at least one text"):
        write_bank(tmp_path / "bank", [], TEACHER)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "bank").mkdir()
    with pytest.raises(ConfigError, match="a new folder"):
        write_bank(tmp_path / "bank", [(["a", "b"], rows)], TEACHER)
    shutil.rmtree(tmp_path / "bank")


def test_wrong_queries_are_refused(stored: Path) -> None:
    opened = BankDecoder.open(stored)
    with pytest.raises(DataError, match="expected width 5"):
        opened.decode(np.ones((1, 4)))
    with pytest.raises(DataError, match="1 to 40"):
        opened.decode(np.ones((1, WIDTH)), 41)
