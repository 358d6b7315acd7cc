"""The size limit of the embedding cache."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latticegraph.config import TeacherSettings
from latticegraph.errors import CacheError
from latticegraph.teachers.cache import EmbeddingCache

# Estimated: 3 float32 and 160 bytes of the tree around them; so small rows take about 105 in truth.
BYTES_PER_TEXT = 172
TEXTS = [f"text {number}" for number in range(1000)]


def limited(settings: TeacherSettings, texts: float) -> TeacherSettings:
    return settings.model_copy(update={"max_cache_size_gb": texts * BYTES_PER_TEXT / 1e9})


@pytest.fixture
def fill(
    cache_settings: TeacherSettings, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Any, float], EmbeddingCache]:
    """Store all texts of a teacher as if it happened at another time."""

    def store(teacher: Any, used_at: float) -> EmbeddingCache:
        cache = EmbeddingCache(cache_settings, teacher)
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: used_at)
            cache.embed(TEXTS)
        return cache

    return store


def stored(settings: TeacherSettings, teacher: Any) -> bool:
    """Whether its rows are there; asked of the files, so that nothing counts as used."""
    store = EmbeddingCache(settings, teacher)._store
    store._register = lambda *_, **__: {}  # type: ignore[method-assign]
    keys = store.read([store_key(text) for text in TEXTS])[0]
    assert len(keys) in (0, len(TEXTS))
    return len(keys) > 0


def store_key(text: str) -> bytes:
    from latticegraph.teachers.store import text_digest

    return text_digest(text)


def test_make_room_drops_the_least_recently_used_teacher(
    cache_settings: TeacherSettings,
    make_teacher: Callable[[str], Any],
    fill: Callable[[Any, float], EmbeddingCache],
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill(make_teacher("a"), 2000.0)
    fill(make_teacher("b"), 1000.0)
    with caplog.at_level(logging.INFO):
        EmbeddingCache(limited(cache_settings, 1700), make_teacher("c")).embed(TEXTS)
    assert stored(cache_settings, make_teacher("a"))
    assert not stored(cache_settings, make_teacher("b"))
    assert "dropped the embeddings of 'length' from the cache" in caplog.text
    EmbeddingCache(limited(cache_settings, 1100), make_teacher("c")).embed(TEXTS)
    assert stored(cache_settings, make_teacher("a")), "nothing was stored, so nothing is dropped"


def test_make_room_counts_use_not_age(
    cache_settings: TeacherSettings,
    make_teacher: Callable[[str], Any],
    fill: Callable[[Any, float], EmbeddingCache],
) -> None:
    fill(make_teacher("a"), 1000.0)
    fill(make_teacher("b"), 2000.0)
    EmbeddingCache(cache_settings, make_teacher("a")).embed(TEXTS[:1])
    EmbeddingCache(limited(cache_settings, 1700), make_teacher("c")).embed(TEXTS)
    assert stored(cache_settings, make_teacher("a"))
    assert not stored(cache_settings, make_teacher("b"))


def test_file_stays_near_the_limit_whatever_passes_through(
    cache_settings: TeacherSettings, make_teacher: Callable[[str], Any]
) -> None:
    small = limited(cache_settings, 1500)
    for digit in "abcdef" * 2:
        cache = EmbeddingCache(small, make_teacher(digit))
        np.testing.assert_array_equal(cache.embed(TEXTS)[:, 1], 1)
        assert cache.hits == 0
    path = cache.folder / "data.mdb"
    assert path.stat().st_size < 3 * 1500 * BYTES_PER_TEXT


def test_make_room_never_touches_other_files(
    cache_settings: TeacherSettings,
    make_teacher: Callable[[str], Any],
    fill: Callable[[Any, float], EmbeddingCache],
) -> None:
    fill(make_teacher("a"), 1000.0)
    foreign = Path(cache_settings.cache_dir) / "my-notes.txt"
    foreign.write_text("mine" * 1000, encoding="utf-8")
    EmbeddingCache(limited(cache_settings, 1100), make_teacher("c")).embed(TEXTS)
    assert not stored(cache_settings, make_teacher("a"))
    assert foreign.exists()


def test_make_room_for_too_much_text_is_an_error_before_any_work(
    cache_settings: TeacherSettings,
    make_teacher: Callable[[str], Any],
    fill: Callable[[Any, float], EmbeddingCache],
) -> None:
    fill(make_teacher("a"), 1000.0)
    teacher = make_teacher("b")
    with pytest.raises(
        CacheError,
        match=r"teacher\.max_cache_size_gb: expected at least 0\.000172 GB .* got 0\.000171828\. R",
    ):
        EmbeddingCache(limited(cache_settings, 999), teacher).embed(TEXTS)
    assert teacher.asked == []
    assert stored(cache_settings, make_teacher("a"))


def test_embed_goes_on_after_its_own_rows_were_dropped(
    cache_settings: TeacherSettings,
    make_teacher: Callable[[str], Any],
    fill: Callable[[Any, float], EmbeddingCache],
) -> None:
    cache = fill(make_teacher("a"), 1000.0)
    EmbeddingCache(limited(cache_settings, 1100), make_teacher("b")).embed(TEXTS)
    found = cache.embed([*TEXTS[:4], "a new text"])
    np.testing.assert_array_equal(found[:, 0], [6, 6, 6, 6, 10])
    assert (cache.hits, cache.misses) == (0, 1005)
    again = EmbeddingCache(cache_settings, make_teacher("a"))
    again.embed(TEXTS[:5])
    assert (again.hits, again.misses) == (4, 1)
