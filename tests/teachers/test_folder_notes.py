"""A model folder that has not changed is not read again, and one that has is."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import latticegraph.teachers.encoder as encoder
from latticegraph.errors import CacheError
from latticegraph.teachers.encoder import EncoderChoices, EncoderTeacher
from latticegraph.teachers.folder_notes import folder_stamp
from latticegraph.teachers.model_folder import folder_fingerprint


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which of the two slow readers of a model folder were called, in order."""
    called: list[str] = []
    for name in ("encoder_width", "folder_fingerprint"):
        real = getattr(encoder, name)

        def watched(*words: object, _real=real, _name: str = name, **choices: object) -> object:
            called.append(_name)
            return _real(*words, **choices)

        monkeypatch.setattr(encoder, name, watched)
    return called


def made(folder: Path, notes: Path | None, max_length: int = 16) -> tuple[int, str]:
    choices = EncoderChoices(max_length=max_length)
    teacher = EncoderTeacher("tiny", folder, choices, notes=notes)
    return teacher.dimension, teacher.fingerprint


def test_second_teacher_of_a_folder_reads_a_note_alone(
    encoder_folder: Path, tmp_path: Path, reads: list[str]
) -> None:
    notes = tmp_path / "notes"
    first = made(encoder_folder, notes)
    assert sorted(reads) == ["encoder_width", "folder_fingerprint"]
    reads.clear()
    assert made(encoder_folder, notes) == first
    assert reads == []
    assert made(encoder_folder, None) == first
    assert sorted(reads) == ["encoder_width", "folder_fingerprint"]


def test_other_choices_and_changed_files_are_read_again(
    encoder_folder: Path, tmp_path: Path, reads: list[str]
) -> None:
    notes = tmp_path / "notes"
    first = made(encoder_folder, notes)
    assert made(encoder_folder, notes, max_length=15)[1] != first[1]
    path = encoder_folder / "config.json"
    before = path.stat()
    text = path.read_text("utf-8")
    # As long as before, and said to be as old: the change of the entry itself still tells.
    path.write_text(text.replace('"dropout": 0.1', '"dropout": 0.2'), encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    reads.clear()
    changed = made(encoder_folder, notes)
    assert reads
    assert changed[1] == made(encoder_folder, None)[1] != first[1]


@pytest.mark.parametrize("damage", [b"", b"\xff\x00", b"0" * 64 + b'\n{"dimension": 5}\n'])
def test_damaged_note_is_made_again_and_told(
    encoder_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    notes = tmp_path / "notes"
    first = made(encoder_folder, notes)
    (note,) = notes.iterdir()
    whole = note.read_bytes()
    note.write_bytes(damage)
    with caplog.at_level(logging.WARNING, "latticegraph"):
        assert made(encoder_folder, notes) == first
    assert f"the note '{note}' is damaged" in caplog.text
    assert note.read_bytes() == whole


def test_notes_that_cannot_be_written_are_named(encoder_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(CacheError, match=r"teacher\.cache_dir: expected to read and write .*file"):
        made(encoder_folder, tmp_path / "file")


def test_number_of_cut_texts_is_counted_once(
    encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = ["cat sat " * count for count in (3, 7, 8, 9, 11)]

    def counted(texts: list[str], notes: Path | None) -> int:
        teacher = EncoderTeacher("tiny", encoder_folder, EncoderChoices(max_length=16), notes=notes)
        return teacher.count_cut(texts)

    notes = tmp_path / "notes"
    assert counted(long, notes) == counted(long, None) == 3
    assert counted(long[1:4], notes) == 2
    monkeypatch.setattr(encoder, "load_tokenizer", lambda *_: pytest.fail("it was known"))
    assert counted(long, notes) == 3
    assert counted(long[1:4], notes) == 2


@pytest.mark.parametrize("digest", [folder_stamp, folder_fingerprint])
def test_order_of_choices_does_not_matter(encoder_folder: Path, digest: Callable[..., str]) -> None:
    one = digest(encoder_folder, pooling="mean", max_length=16)
    assert one == digest(encoder_folder, max_length=16, pooling="mean")
    assert one != digest(encoder_folder, max_length=17, pooling="mean")
