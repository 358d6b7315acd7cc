"""A teacher whose outputs are known by hand, and a tiny encoder folder; nothing is downloaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from latticegraph.config import TeacherSettings
from latticegraph.progress import ProgressCallback
from latticegraph.teachers.protocol import Embeddings, Teacher

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "dog", "sat", "ran", "far"]


class LengthTeacher(Teacher):
    """Embeds a text as (characters, spaces, 1) and remembers what it was asked."""

    def __init__(self, fingerprint: str = "a" * 64) -> None:
        self.name = "length"
        self.dimension = 3
        self.own_fingerprint = fingerprint
        self.asked: list[str] = []
        self.scale = 1.0

    @property
    def fingerprint(self) -> str:
        return self.own_fingerprint

    def encode(self, texts: Sequence[str], progress: ProgressCallback | None = None) -> Embeddings:
        self.asked += texts
        if progress is not None:
            progress(len(texts))
        rows = [(len(text), text.count(" "), 1) for text in texts]
        return (self.scale * np.array(rows).reshape(-1, 3)).astype(np.float32)


def edit(path: Path, **changes: object) -> None:
    """Change some keys of a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def teacher() -> LengthTeacher:
    """A fresh teacher of known outputs."""
    return LengthTeacher()


@pytest.fixture
def make_teacher() -> Callable[[str], LengthTeacher]:
    """Teachers of known outputs with other fingerprints, by one hexadecimal digit."""
    return lambda digit: LengthTeacher(digit * 64)


@pytest.fixture
def cache_settings(tmp_path: Path) -> TeacherSettings:
    """Settings of a cache below ``tmp_path``."""
    return TeacherSettings(dimension=3, cache_dir=str(tmp_path / "cache"), batch_size=4)


@pytest.fixture
def encoder_folder(tmp_path: Path) -> Path:
    """A randomly initialised DistilBERT of width 32 with a vocabulary of eleven words."""
    from transformers import BertTokenizer, DistilBertConfig, DistilBertModel

    folder = tmp_path / "tiny-encoder"
    folder.mkdir()
    vocabulary = {word: index for index, word in enumerate(VOCABULARY)}
    tokenizer = BertTokenizer(vocab=vocabulary, model_max_length=24)
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = DistilBertConfig(
            vocab_size=len(VOCABULARY),
            max_position_embeddings=24,
            dim=32,
            hidden_dim=64,
            n_layers=2,
            n_heads=4,
        )
        DistilBertModel(config).save_pretrained(folder)
    return folder
