"""The embedding cache: what it remembers; kills, other processes, full and damaged disks."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from latticegraph.config import TeacherSettings
from latticegraph.errors import CacheError
from latticegraph.teachers import cache as cache_module
from latticegraph.teachers import store as store_module
from latticegraph.teachers.cache import EmbeddingCache
from latticegraph.teachers.eviction import lock_path

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
    EmbeddingCache(cache_settings, make_teacher("a")).embed(TEXTS)
    other = make_teacher("b")
    EmbeddingCache(cache_settings, other).embed(TEXTS)
    assert len(other.asked) == len(TEXTS)


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


@pytest.mark.parametrize(
    ("rows_cut", "keys_cut", "kept"),
    [(0, 5, 4), (7, 0, 4), (0, 32, 4), (12, 0, 4), (30, 70, 2), (60, 0, 0)],
)
def test_embed_passes_over_what_a_kill_left_half_written(
    cache_settings: TeacherSettings, teacher: Any, rows_cut: int, keys_cut: int, kept: int
) -> None:
    cache = EmbeddingCache(cache_settings, teacher)
    cache.embed(TEXTS)
    for name, cut in (("rows.f32", rows_cut), ("keys.bin", keys_cut)):
        path = cache.folder / name
        os.truncate(path, path.stat().st_size - cut)
    again = EmbeddingCache(cache_settings, teacher)
    np.testing.assert_array_equal(again.embed(TEXTS), EXPECTED)
    assert (again.hits, again.misses) == (kept, 5 - kept)
    assert (cache.folder / "rows.f32").stat().st_size == 5 * 12
    np.testing.assert_array_equal(EmbeddingCache(cache_settings, teacher).embed(TEXTS), EXPECTED)


def test_embed_starts_anew_when_a_kill_came_before_the_first_row(
    cache_settings: TeacherSettings, teacher: Any
) -> None:
    cache = EmbeddingCache(cache_settings, teacher)
    cache.folder.mkdir(parents=True)
    (cache.folder / "rows.f32").write_bytes(b"half")
    np.testing.assert_array_equal(cache.embed(TEXTS), EXPECTED)


def test_embed_never_gives_new_rows_to_keys_that_lost_theirs(
    cache_settings: TeacherSettings, teacher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EmbeddingCache(cache_settings, teacher)
    cache.embed(TEXTS)
    os.truncate(cache.folder / "rows.f32", 0)
    write = store_module._write_at

    def die_before_the_keys(path: Path, position: int, data: bytes) -> None:
        if path.name == "keys.bin":
            raise KeyboardInterrupt
        write(path, position, data)

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "_write_at", die_before_the_keys)
        with pytest.raises(KeyboardInterrupt):
            EmbeddingCache(cache_settings, teacher).embed(["another text", "and one more of them"])
    np.testing.assert_array_equal(EmbeddingCache(cache_settings, teacher).embed(TEXTS), EXPECTED)


def test_embed_waits_while_another_process_writes(
    cache_settings: TeacherSettings, teacher: Any
) -> None:
    cache = EmbeddingCache(cache_settings, teacher)
    cache.embed(TEXTS[:1])
    with FileLock(lock_path(cache.folder)):
        thread = threading.Thread(target=cache.embed, args=(TEXTS,))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        assert teacher.asked == TEXTS[:1]
    thread.join(10)
    assert not thread.is_alive()
    assert sorted(teacher.asked) == sorted(TEXTS)


def test_embed_survives_two_processes_writing_at_once(
    cache_settings: TeacherSettings, teacher: Any
) -> None:
    script = textwrap.dedent("""
        import sys, types
        import numpy as np
        from latticegraph.config import TeacherSettings
        from latticegraph.teachers import cache
        cache.BLOCK_TEXTS = 4
        folder, start = sys.argv[1], int(sys.argv[2])
        encode = lambda texts, progress: np.array(
            [(len(t), t.count(" "), 1) for t in texts], dtype=np.float32)
        teacher = types.SimpleNamespace(
            name="length", dimension=3, fingerprint="a" * 64, encode=encode)
        settings = TeacherSettings(dimension=3, cache_dir=folder, batch_size=4)
        texts = ["x" * n for n in range(start, start + 150)]
        print("ready", flush=True)
        sys.stdin.readline()
        found = cache.EmbeddingCache(settings, teacher).embed(texts)
        assert (found[:, 0] == range(start, start + 150)).all()
    """)
    command = [sys.executable, "-c", script, cache_settings.cache_dir]
    root = Path(cache_module.__file__).parents[2]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(
            [*command, str(start)], stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=root
        )
        for start in (0, 50)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    cache = EmbeddingCache(cache_settings, teacher)
    found = cache.embed(["x" * length for length in range(200)])
    np.testing.assert_array_equal(found[:, 0], np.arange(200))
    assert (cache.hits, cache.misses) == (200, 0)
    assert (cache.folder / "keys.bin").stat().st_size == 200 * 32


def test_embed_on_a_full_disk_keeps_what_was_stored(
    cache_settings: TeacherSettings, teacher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EmbeddingCache(cache_settings, teacher)
    cache.embed(TEXTS[:3])

    def full(path: Path, position: int, data: bytes) -> None:
        with path.open("r+b") as file:
            file.seek(position)
            file.write(data[:5])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "_write_at", full)
        with pytest.raises(
            CacheError, match=r"teacher\.cache_dir: .* got: No space left on device\. Free space on"
        ):
            cache.embed(TEXTS)
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"fingerprint": "b" * 64},
            r"expected fingerprint 'a+' for the teacher 'length', got 'b+'",
        ),
        ({"dimension": 4}, r"expected dimension 3 .*, got 4"),
        ({"format": 99}, r"expected format 1 .*, got 99"),
    ],
)
def test_embed_refuses_a_foreign_store(
    cache_settings: TeacherSettings, teacher: Any, change: dict[str, Any], message: str
) -> None:
    cache = EmbeddingCache(cache_settings, teacher)
    cache.embed(TEXTS)
    path = cache.folder / "meta.json"
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8"
    )
    with pytest.raises(CacheError, match=rf"meta\.json: {message}\. Delete the folder"):
        EmbeddingCache(cache_settings, teacher).embed(TEXTS)


@pytest.mark.parametrize("content", ["", "{}", "[1]", "nonsense"])
def test_embed_refuses_a_damaged_meta_file(
    cache_settings: TeacherSettings, teacher: Any, content: str
) -> None:
    cache = EmbeddingCache(cache_settings, teacher)
    cache.embed(TEXTS)
    (cache.folder / "meta.json").write_text(content, encoding="utf-8")
    with pytest.raises(CacheError, match=r"meta\.json: expected JSON with a generation"):
        EmbeddingCache(cache_settings, teacher).embed(TEXTS)


def test_embed_accepts_a_store_under_another_name(
    cache_settings: TeacherSettings, teacher: Any
) -> None:
    EmbeddingCache(cache_settings, teacher).embed(TEXTS)
    teacher.name = "the same model, elsewhere"
    cache = EmbeddingCache(cache_settings, teacher)
    cache.embed(TEXTS)
    assert cache.hits == 5


def test_embed_refuses_damaged_rows_and_keys(cache_settings: TeacherSettings, teacher: Any) -> None:
    cache = EmbeddingCache(cache_settings, teacher)
    cache.embed(TEXTS)
    rows, keys = cache.folder / "rows.f32", cache.folder / "keys.bin"
    good = rows.read_bytes()
    rows.write_bytes(b"\xff" * len(good))
    with pytest.raises(
        CacheError, match=r"rows\.f32: expected finite numbers .* Delete the folder"
    ):
        EmbeddingCache(cache_settings, teacher).embed(TEXTS)
    rows.write_bytes(good)
    keys.write_bytes(bytes(5 * 32))
    with pytest.raises(CacheError, match=r"keys\.bin: expected 5 different keys .*, got 1"):
        EmbeddingCache(cache_settings, teacher).embed(TEXTS)
    keys.write_bytes(b"")
    with pytest.raises(CacheError, match=r"keys\.bin: expected 5 keys .*, got only 0"):
        cache.embed(TEXTS)
    keys.unlink()
    with pytest.raises(CacheError, match=r"keys\.bin: expected a file .*, got nothing"):
        EmbeddingCache(cache_settings, teacher).embed(TEXTS)
