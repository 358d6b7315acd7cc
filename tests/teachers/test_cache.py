"""The embedding cache: what it remembers; kills, other processes, full disks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from latticegraph.config import TeacherSettings
from latticegraph.errors import CacheError, TeacherError
from latticegraph.teachers import cache as cache_module
from latticegraph.teachers.cache import EmbeddingCache
from latticegraph.teachers.environment import lock_path

TEXTS = ["a b", "abc d", "x", "", "emoji 🙂 here"]
EXPECTED = [[3, 1, 1], [5, 1, 1], [1, 0, 1], [0, 0, 1], [12, 2, 1]]


def test_embed_equals_the_teacher_in_order_with_repeats(
    cache_settings: TeacherSettings, teacher: Any
) -> None:
    cache = EmbeddingCache(cache_settings, teacher)
    found = cache.embed([*TEXTS, "a b"])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [*EXPECTED, [3, 1, 1]])
    assert sorted(teacher.asked) == sorted(TEXTS)


def test_embed_of_no_text_is_empty(cache_settings: TeacherSettings, teacher: Any) -> None:
    assert EmbeddingCache(cache_settings, teacher).embed([]).shape == (0, 3)


def test_embed_asks_the_teacher_only_once_across_caches(
    cache_settings: TeacherSettings, teacher: Any
) -> None:
    EmbeddingCache(cache_settings, teacher).embed(TEXTS[:3])
    teacher.asked.clear()
    cache = EmbeddingCache(cache_settings, teacher)
    assert cache.hit_rate == 0.0
    np.testing.assert_array_equal(cache.embed(TEXTS), EXPECTED)
    assert sorted(teacher.asked) == sorted(TEXTS[3:])
    assert (cache.hits, cache.misses, cache.hit_rate) == (3, 2, 0.6)
    cache.embed(TEXTS + TEXTS)
    assert (cache.hits, cache.misses) == (8, 2)


def test_embed_keeps_teachers_apart(
    cache_settings: TeacherSettings, make_teacher: Callable[[str], Any]
) -> None:
    one, other = make_teacher("a"), make_teacher("b")
    other.scale = 2.0
    EmbeddingCache(cache_settings, one).embed(TEXTS)
    EmbeddingCache(cache_settings, other).embed(TEXTS)
    for teacher, scale in ((one, 1), (other, 2)):
        teacher.asked.clear()
        found = EmbeddingCache(cache_settings, teacher).embed(TEXTS)
        np.testing.assert_array_equal(found, scale * np.array(EXPECTED))
        assert teacher.asked == []


def test_embed_keeps_arithmetic_apart(cache_settings: TeacherSettings, teacher: Any) -> None:
    EmbeddingCache(cache_settings, teacher).embed(TEXTS)
    teacher.arithmetic, teacher.scale = "cuda, float32", 1 + 1e-6
    cache = EmbeddingCache(cache_settings, teacher)
    assert cache.embed(TEXTS)[0, 0] == np.float32(3 * (1 + 1e-6))
    assert cache.hits == 0
    teacher.arithmetic = ""
    assert EmbeddingCache(cache_settings, teacher).embed(TEXTS)[0, 0] == 3


def test_embed_asks_in_an_order_that_does_not_depend_on_the_input(
    cache_settings: TeacherSettings, make_teacher: Callable[[str], Any]
) -> None:
    one, two = make_teacher("a"), make_teacher("b")
    EmbeddingCache(cache_settings, one).embed(TEXTS)
    EmbeddingCache(cache_settings, two).embed(TEXTS[::-1])
    assert one.asked == two.asked == sorted(TEXTS, key=lambda text: (len(text), text))


def test_embed_goes_on_after_an_interruption(
    cache_settings: TeacherSettings, teacher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "BLOCK_TEXTS", 8)
    texts = ["x" * length for length in range(20)]
    encode = teacher.encode

    def stop_in_the_second_block(asked: list[str], progress: Any = None) -> Any:
        if "x" * 8 in asked:
            raise KeyboardInterrupt
        return encode(asked, progress)

    teacher.encode = stop_in_the_second_block
    with pytest.raises(KeyboardInterrupt):
        EmbeddingCache(cache_settings, teacher).embed(texts)
    teacher.encode = encode
    teacher.asked.clear()
    cache = EmbeddingCache(cache_settings, teacher)
    np.testing.assert_array_equal(cache.embed(texts)[:, 0], np.arange(20))
    assert (cache.hits, cache.misses) == (8, 12)
    assert teacher.asked == texts[8:]


def test_embed_skips_what_another_process_finished_meanwhile(
    cache_settings: TeacherSettings, teacher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "BLOCK_TEXTS", 4)
    texts = ["x" * length for length in range(12)]
    encode = teacher.encode

    def and_so_does_another(asked: list[str], progress: Any = None) -> Any:
        if "x" in asked:
            other = type(teacher)()
            EmbeddingCache(cache_settings, other).embed(texts[4:9])
        return encode(asked, progress)

    teacher.encode = and_so_does_another
    found = EmbeddingCache(cache_settings, teacher).embed(texts)
    np.testing.assert_array_equal(found[:, 0], np.arange(12))
    assert teacher.asked == texts[:4] + texts[9:]


def test_embed_waits_while_another_process_writes(
    cache_settings: TeacherSettings, teacher: Any
) -> None:
    cache = EmbeddingCache(cache_settings, teacher)
    cache.embed(TEXTS[:1])
    with FileLock(lock_path(Path(cache_settings.cache_dir))):
        thread = threading.Thread(target=cache.embed, args=(TEXTS,))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()
    assert EmbeddingCache(cache_settings, teacher).embed(TEXTS).tolist() == EXPECTED
    assert sorted(teacher.asked) == sorted(TEXTS)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_embed_on_a_full_disk_keeps_what_was_stored(
    cache_settings: TeacherSettings, teacher: Any
) -> None:
    import resource

    cache = EmbeddingCache(cache_settings, teacher)
    cache.embed(TEXTS[:3])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with pytest.raises(CacheError, match=r"teacher\.cache_dir: .*\. Free space on that disk"):
            cache.embed(["y" * length for length in range(2000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    again = EmbeddingCache(cache_settings, teacher)
    np.testing.assert_array_equal(again.embed(TEXTS[:3]), EXPECTED[:3])
    assert (again.hits, again.misses) == (3, 0)
    np.testing.assert_array_equal(again.embed(TEXTS), EXPECTED)


def test_embed_where_no_folder_can_be_made_is_an_error(
    cache_settings: TeacherSettings, teacher: Any
) -> None:
    Path(cache_settings.cache_dir).write_text("a file", encoding="utf-8")
    with pytest.raises(CacheError, match=r"teacher\.cache_dir: expected to write the embedding"):
        EmbeddingCache(cache_settings, teacher).embed(TEXTS)


def test_embed_refuses_a_teacher_of_another_width_with_the_same_fingerprint(
    cache_settings: TeacherSettings, teacher: Any
) -> None:
    EmbeddingCache(cache_settings, teacher).embed(TEXTS)
    teacher.dimension = 4
    with pytest.raises(CacheError, match=r"expected dimension 4 for .* got 3\. Delete the folder"):
        EmbeddingCache(cache_settings, teacher).embed(TEXTS)


def test_embed_accepts_a_store_under_another_name(
    cache_settings: TeacherSettings, teacher: Any
) -> None:
    EmbeddingCache(cache_settings, teacher).embed(TEXTS)
    teacher.name = "the same model, elsewhere"
    cache = EmbeddingCache(cache_settings, teacher)
    cache.embed(TEXTS)
    assert cache.hits == 5


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (np.full((5, 3), np.nan, np.float32), "NaN or infinity"),
        (np.ones((5, 3)), r"float64 \[5, 3\]"),
        (np.ones((4, 3), np.float32), r"float32 \[4, 3\]"),
    ],
)
def test_embed_stores_nothing_that_is_no_embedding(
    cache_settings: TeacherSettings, teacher: Any, rows: Any, says: str
) -> None:
    encode, teacher.encode = teacher.encode, lambda texts, progress: rows
    with pytest.raises(TeacherError, match=rf"expected finite float32 \[5, 3\] .* got {says}"):
        EmbeddingCache(cache_settings, teacher).embed(TEXTS)
    teacher.encode = encode
    cache = EmbeddingCache(cache_settings, teacher)
    np.testing.assert_array_equal(cache.embed(TEXTS), EXPECTED)
    assert cache.hits == 0


def test_folders_of_an_earlier_version_are_named(
    cache_settings: TeacherSettings, teacher: Any, caplog: pytest.LogCaptureFixture
) -> None:
    old = Path(cache_settings.cache_dir) / ("a" * 64)
    old.mkdir(parents=True)
    (old / "rows.f32").write_bytes(bytes(5 * 12))
    (old.parent / "my-notes").mkdir()
    cache = EmbeddingCache(cache_settings, teacher)
    np.testing.assert_array_equal(cache.embed(TEXTS), EXPECTED)
    cache.embed(TEXTS)
    (message,) = caplog.messages
    assert f"'{old}' holds embeddings (0.0 MB) of an earlier version" in message
    assert (old / "rows.f32").exists()


def test_embed_says_beforehand_how_long_the_teacher_will_take(
    cache_settings: TeacherSettings, teacher: Any, caplog: pytest.LogCaptureFixture
) -> None:
    teacher.expected_seconds = lambda texts: 60.0 * len(texts)
    cache = EmbeddingCache(cache_settings, teacher)
    with caplog.at_level("INFO"):
        cache.embed(["a", "bb"])
        cache.embed(["bb", "c c", "bb", "d"])
        cache.embed(["a"])
    said = [record.message for record in caplog.records]
    assert said == [
        "teacher: 2 of 2 texts to embed, about 2 min",
        "teacher: 2 of 3 texts to embed, about 2 min",
    ]


def test_embed_reads_more_rows_than_are_read_together(
    cache_settings: TeacherSettings, teacher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latticegraph.teachers.cache.READ_TOGETHER", 3)
    texts = ["x" * n for n in range(1, 11)]
    first = EmbeddingCache(cache_settings, teacher).embed(texts)
    asked = list(teacher.asked)
    again = EmbeddingCache(cache_settings, teacher).embed([*texts[::-1], texts[0]])
    assert teacher.asked == asked
    np.testing.assert_array_equal(first[:, 0], range(1, 11))
    np.testing.assert_array_equal(again, first[[*range(9, -1, -1), 0]])
