"""The size limit of the embedding cache."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from latticegraph.config import TeacherSettings
from latticegraph.errors import CacheError
from latticegraph.teachers.cache import EmbeddingCache
from latticegraph.teachers.eviction import lock_path

# One text takes 3 float32 and a key of 32 bytes.
BYTES_PER_TEXT = 44
TEXTS = [f"text {number}" for number in range(10)]


def limited(settings: TeacherSettings, texts: float) -> TeacherSettings:
    return settings.model_copy(update={"max_cache_size_gb": texts * BYTES_PER_TEXT / 1e9})


def fill(settings: TeacherSettings, teacher: Any, used_at: float) -> EmbeddingCache:
    cache = EmbeddingCache(settings, teacher)
    cache.embed(TEXTS)
    os.utime(cache.folder / "meta.json", (used_at, used_at))
    return cache


def stored(cache: EmbeddingCache) -> bool:
    return (cache.folder / "rows.f32").exists()


def test_make_room_drops_the_least_recently_used_teacher(
    cache_settings: TeacherSettings,
    make_teacher: Callable[[str], Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    newer = fill(cache_settings, make_teacher("a"), 2000.0)
    older = fill(cache_settings, make_teacher("b"), 1000.0)
    with caplog.at_level(logging.INFO):
        EmbeddingCache(limited(cache_settings, 25), make_teacher("c")).embed(TEXTS)
    assert stored(newer)
    assert not stored(older)
    assert str(older.folder) in caplog.text
    EmbeddingCache(limited(cache_settings, 10), make_teacher("c")).embed(TEXTS)
    assert stored(newer), "nothing new was stored, so nothing is dropped"


def test_make_room_counts_use_not_age(
    cache_settings: TeacherSettings, make_teacher: Callable[[str], Any]
) -> None:
    first = fill(cache_settings, make_teacher("a"), 1000.0)
    second = fill(cache_settings, make_teacher("b"), 2000.0)
    EmbeddingCache(cache_settings, make_teacher("a")).embed(TEXTS[:1])
    EmbeddingCache(limited(cache_settings, 25), make_teacher("c")).embed(TEXTS)
    assert stored(first)
    assert not stored(second)


def test_make_room_never_touches_other_folders_or_stores_in_use(
    cache_settings: TeacherSettings, make_teacher: Callable[[str], Any]
) -> None:
    busy = fill(cache_settings, make_teacher("a"), 1000.0)
    foreign = Path(cache_settings.cache_dir) / "my-notes"
    foreign.mkdir()
    (foreign / "meta.json").write_text("{}" * 1000, encoding="utf-8")
    with FileLock(lock_path(busy.folder)):
        EmbeddingCache(limited(cache_settings, 10), make_teacher("c")).embed(TEXTS)
    assert stored(busy)
    assert (foreign / "meta.json").exists()


def test_make_room_for_too_much_text_is_an_error_before_any_work(
    cache_settings: TeacherSettings, make_teacher: Callable[[str], Any]
) -> None:
    kept = fill(cache_settings, make_teacher("a"), 1000.0)
    teacher = make_teacher("b")
    with pytest.raises(
        CacheError,
        match=r"teacher\.max_cache_size_gb: expected at least 4\.4e-07 GB .* got 3\.96e-07\. Raise",
    ):
        EmbeddingCache(limited(cache_settings, 9), teacher).embed(TEXTS)
    assert teacher.asked == []
    assert stored(kept)


def test_embed_goes_on_after_its_own_store_was_dropped(
    cache_settings: TeacherSettings, make_teacher: Callable[[str], Any]
) -> None:
    cache = fill(cache_settings, make_teacher("a"), 1000.0)
    EmbeddingCache(limited(cache_settings, 10), make_teacher("b")).embed(TEXTS)
    assert not stored(cache)
    found = cache.embed([*TEXTS[:4], "a new text"])
    np.testing.assert_array_equal(found[:, 0], [6, 6, 6, 6, 10])
    assert (cache.hits, cache.misses) == (0, 15)
    assert (cache.folder / "rows.f32").stat().st_size == 5 * 12
