"""Damaged files of the embedding cache: no wrong row is ever read."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latticegraph.config import TeacherSettings
from latticegraph.teachers.cache import EmbeddingCache

TEXTS = [f"a text of number {number}" + "!" * (number % 7) for number in range(300)]
EXPECTED = np.array([[len(text), text.count(" "), 1] for text in TEXTS], dtype=np.float32)


@pytest.fixture
def filled(
    cache_settings: TeacherSettings, make_teacher: Callable[[str], Any]
) -> Callable[[], Path]:
    """A cache that holds all texts; called again, the same bytes anew in a file of its own."""
    EmbeddingCache(cache_settings, make_teacher("a")).embed(TEXTS)
    path = Path(cache_settings.cache_dir) / "embeddings.lmdb" / "data.mdb"
    good = path.read_bytes()

    def restore() -> Path:
        path.unlink(missing_ok=True)
        path.with_name("lock.mdb").unlink(missing_ok=True)
        path.write_bytes(good)
        return path

    return restore


def read(settings: TeacherSettings, teacher: Any) -> tuple[int, list[str]]:
    """Check all rows; how many had to be embedded again, and then that none must any more."""
    teacher.asked.clear()
    np.testing.assert_array_equal(EmbeddingCache(settings, teacher).embed(TEXTS), EXPECTED)
    again = list(teacher.asked)
    teacher.asked.clear()
    np.testing.assert_array_equal(EmbeddingCache(settings, teacher).embed(TEXTS), EXPECTED)
    assert teacher.asked == []
    return len(again), again


def test_flipped_bit_in_a_row_is_found_embedded_again_and_said(
    cache_settings: TeacherSettings,
    teacher: Any,
    filled: Callable[[], Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = filled()
    # Everywhere, for pages that are no longer used may hold it too.
    row = EXPECTED[17].tobytes()
    path.write_bytes(path.read_bytes().replace(row, bytes([row[0] ^ 1]) + row[1:]))
    same = [text for text, other in zip(TEXTS, EXPECTED, strict=True) if other.tobytes() == row]
    count, again = read(cache_settings, teacher)
    assert (count, sorted(again)) == (len(same), sorted(same))
    assert f"{count} of 300 embeddings in '{path.parent}' are damaged and are computed" in (
        caplog.text
    )


def test_zeroed_rows_are_embedded_again(
    cache_settings: TeacherSettings, teacher: Any, filled: Callable[[], Path]
) -> None:
    path = filled()
    data = path.read_bytes()
    zeroed = [row.tobytes() for row in EXPECTED if row[0] in (20, 24)]
    for row in zeroed:
        data = data.replace(row, bytes(len(row)))
    path.write_bytes(data)
    assert 0 < read(cache_settings, teacher)[0] == len(zeroed) < 300


def test_truncated_file_is_replaced_before_it_is_mapped(
    cache_settings: TeacherSettings,
    teacher: Any,
    filled: Callable[[], Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = filled()
    path.write_bytes(path.read_bytes()[:9000])
    assert read(cache_settings, teacher)[0] == 300
    assert f"the embedding cache '{path.parent}' was damaged and is deleted" in caplog.text


@pytest.mark.parametrize("content", [b"", b"no database", bytes(20000)])
def test_file_of_something_else_is_replaced(
    cache_settings: TeacherSettings, teacher: Any, filled: Callable[[], Path], content: bytes
) -> None:
    filled().write_bytes(content)
    assert read(cache_settings, teacher)[0] == 300


def test_any_damage_costs_time_and_never_a_wrong_row(
    cache_settings: TeacherSettings, teacher: Any, filled: Callable[[], Path]
) -> None:
    rng = random.Random(0)
    size = filled().stat().st_size
    counts = set()
    for number in range(40):
        path = filled()
        data = bytearray(path.read_bytes())
        page = rng.randrange(size // 4096) * 4096
        if number % 4 == 0:
            data[rng.randrange(size)] ^= 1 << rng.randrange(8)
        elif number % 4 == 1:
            data[page : page + 4096] = bytes(4096)
        elif number % 4 == 2:
            data[page + rng.randrange(32)] = rng.randrange(256)
        else:
            data[page : page + 4096] = rng.randbytes(4096)
        path.write_bytes(data)
        counts.add(read(cache_settings, teacher)[0])
    assert {0, 300} <= counts


def test_cache_that_another_process_replaced_is_opened_anew(
    cache_settings: TeacherSettings, make_teacher: Callable[[str], Any], filled: Callable[[], Path]
) -> None:
    early = EmbeddingCache(cache_settings, make_teacher("a"))
    assert early.embed(TEXTS)[0, 0] == EXPECTED[0, 0]
    path = filled()
    path.write_bytes(b"damaged")
    EmbeddingCache(cache_settings, make_teacher("b")).embed(TEXTS[:5])
    np.testing.assert_array_equal(early.embed(TEXTS), EXPECTED)
    assert (early.hits, early.misses) == (300, 300)
    late = EmbeddingCache(cache_settings, make_teacher("a"))
    late.embed(TEXTS)
    assert late.hits == 300
