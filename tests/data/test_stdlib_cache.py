"""Cached sentences of the standard library: the same as parsed ones, and never stale."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from latticegraph.config import DataSettings
from latticegraph.data import load_samples, stdlib
from latticegraph.data.stdlib import stdlib_samples
from latticegraph.errors import DataError


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Two modules with three sentences, one with a text outside ASCII."""
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "a.py").write_text(
        '"""Written by José some years ago. It has one more sentence."""\n'
    )
    (folder / "b.py").write_text('"""This module does one small thing."""\n')
    return folder


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that are parsed from now on."""
    seen: list[Path] = []
    plain = stdlib._docstrings

    def watched(path: Path):
        seen.append(path)
        return plain(path)

    monkeypatch.setattr(stdlib, "_docstrings", watched)
    return seen


def test_second_reading_parses_nothing_and_gives_the_same(
    library: Path, tmp_path: Path, parsed: list[Path]
) -> None:
    fresh = stdlib_samples(library)
    first = stdlib_samples(library, tmp_path / "cache")
    parsed.clear()
    assert stdlib_samples(library, tmp_path / "cache") == first == fresh
    assert parsed == []


def test_cached_sentences_of_the_running_python_are_those_of_a_fresh_parse(tmp_path: Path) -> None:
    fresh = stdlib_samples(cache_dir=tmp_path)
    assert stdlib_samples(cache_dir=tmp_path) == fresh
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("change", ["size", "time", "new file", "removed file", "version"])
def test_changed_sources_are_parsed_again(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    cache, module = tmp_path / "cache", library / "b.py"
    stdlib_samples(library, cache)
    status = module.stat()
    if change == "size":
        module.write_text('"""This module does two small things now."""\n')
        os.utime(module, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "time":
        module.write_text('"""This module does one great thing."""\n')
        os.utime(module, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    elif change == "new file":
        (library / "c.py").write_text('"""Here comes another sentence too."""\n')
    elif change == "removed file":
        module.unlink()
    else:
        monkeypatch.setattr(stdlib, "EXTRACTION_VERSION", stdlib.EXTRACTION_VERSION + 1)
    assert stdlib_samples(library, cache) == stdlib_samples(library)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("keep", [0, 10, -1])
def test_damaged_file_is_reported_and_replaced(
    library: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, keep: int
) -> None:
    fresh = stdlib_samples(library, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:keep])
    assert stdlib_samples(library, tmp_path / "cache") == fresh
    assert "are damaged and are parsed again" in caplog.text
    assert file.read_bytes() == whole


def test_folder_that_refuses_is_an_error(library: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"teacher\.cache_dir: expected to read and write"):
        stdlib_samples(library, tmp_path / "file")


def test_text_is_stored_only_where_a_folder_is_given(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "cdefgh":
        sentences = [f"Sentence number {i} of the module {name}." for i in range(9)]
        (library / f"{name}.py").write_text(f'"""{" ".join(sentences)}"""\n')
    settings = DataSettings(train=("stdlib",), min_sentences=10)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(library))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    first = load_samples(settings)
    assert len((*first.train, *first.validation, *first.heldout)) == 57
    assert not (tmp_path / "home").exists()
    assert load_samples(settings, tmp_path / "cache") == first
    assert (tmp_path / "cache").is_dir()
