from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from latticegraph.decoding import KnownTeacher
from latticegraph.decoding.generative import load_decoder, save_decoder
from latticegraph.decoding.open_folder import open_decoder
from latticegraph.errors import CheckpointError, TeacherError
from tests.decoding.generative.conftest import TEACHER, encode, sentences

NAMES = ["decoder.json", "decoder.safetensors", "tokenizer.json"]


@pytest.fixture
def stored(decoder, config, tmp_path: Path) -> Path:
    save_decoder(tmp_path / "decoder", decoder, config)
    return tmp_path / "decoder"


def test_a_stored_decoder_writes_the_same(decoder, config, stored: Path) -> None:
    assert sorted(path.name for path in stored.iterdir()) == NAMES
    loaded, settings = load_decoder(stored, encode)
    rows = encode(sentences()[:6])
    assert loaded.decode(rows, 3) == decoder.decode(rows, 3)
    assert settings == config
    assert loaded.teacher == TEACHER


def test_a_decoder_is_opened_with_its_own_teacher_alone(stored: Path, tmp_path: Path) -> None:
    rows = encode(sentences()[:2])
    opened = open_decoder(stored, "words", "a" * 64, encode, method="greedy")
    assert [len(row) for row in opened.decode(rows)] == [1, 1]
    with pytest.raises(TeacherError, match=r"'words'.*'other'"):
        open_decoder(stored, "other", "b" * 64, encode)
    with pytest.raises(CheckpointError, match=r"neither bank\.json nor decoder\.json"):
        open_decoder(tmp_path, "words", "a" * 64, encode)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", ["byte", "short", "missing", "pickle"])
def test_damaged_files_are_refused(stored: Path, name: str, change: str) -> None:
    path = stored / name
    data = bytearray(path.read_bytes())
    if change == "missing":
        path.unlink()
    elif change == "pickle":
        path.write_bytes(pickle.dumps({"weights": [1.0]}))
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data if change == "byte" else data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="expected"):
        load_decoder(stored)


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"more": 1}, {"format": "other"}, {"teacher": {"name": "words"}}],
    ids=lambda change: next(iter(change)),
)
def test_decoder_json_is_strict(stored: Path, change: dict) -> None:
    path = stored / "decoder.json"
    tree = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(tree | change, indent=2) + "\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"decoder\.json"):
        load_decoder(stored)


def test_weights_of_other_settings_are_refused(decoder, config, stored: Path) -> None:
    decoder.teacher = KnownTeacher(name="other", dimension=12, fingerprint="b" * 64)
    text = (stored / "decoder.json").read_text("utf-8").replace("a" * 64, "b" * 64)
    (stored / "decoder.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match="does not match weights and settings"):
        load_decoder(stored)
