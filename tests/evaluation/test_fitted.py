"""Fitted rows come back from their file as they were, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latticegraph.config.evaluation import EvaluationSettings
from latticegraph.errors import CheckpointError
from latticegraph.evaluation import DecoderNetwork, EmbeddingSplit, RandomFeatures
from latticegraph.evaluation.baselines import fit_all, new_baselines
from latticegraph.evaluation.fitted import load_rows, save_rows

WIDTH, BOTTLENECK = 9, 4


def make_rows() -> list[Any]:
    settings = EvaluationSettings(mlp_hidden=5, baseline_epochs=2)
    rows: list[Any] = list(new_baselines(BOTTLENECK, settings, seed=1, task="question_answer"))
    return [*rows, RandomFeatures(BOTTLENECK, 12), DecoderNetwork(BOTTLENECK, 200, updates=20)]


@pytest.fixture(scope="module")
def fitted() -> tuple[list[Any], np.ndarray]:
    random = np.random.default_rng(0)
    mixing = random.normal(size=(WIDTH, WIDTH))
    train, held = (random.normal(size=(n, WIDTH)) @ mixing for n in (60, 20))
    splits = [EmbeddingSplit(x, np.tanh(x)) for x in (train, held)]
    rows = make_rows()
    fit_all(rows[:-2], *splits)
    for row in rows[-2:]:
        row.fit(train, np.tanh(train), (held, np.tanh(held)))
    return rows, random.normal(size=(7, WIDTH))


def test_rows_read_back_predict_the_same_bits(
    fitted: tuple[list[Any], np.ndarray], tmp_path: Path
) -> None:
    rows, text = fitted
    path = tmp_path / "rows.safetensors"
    save_rows(path, rows, "key")
    again = make_rows()
    assert load_rows(path, again, "key")
    for old, new in zip(rows, again, strict=True):
        assert np.array_equal(old.predict(text), new.predict(text)), old.name
        assert getattr(old, "parameters", None) == getattr(new, "parameters", None)
    for index in (2, 4):  # rows of the table of codes too
        codes = rows[index].encode(text)
        assert np.array_equal(codes, again[index].encode(text))
        assert np.array_equal(rows[index].decode(codes), again[index].decode(codes))


def test_rows_of_another_fit_are_not_read(
    fitted: tuple[list[Any], np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "rows.safetensors"
    assert not load_rows(path, make_rows(), "key")
    save_rows(path, fitted[0], "key")
    rows = make_rows()
    assert not load_rows(path, rows, "other key")
    assert not hasattr(rows[0], "mean_D")


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: b"x", lambda data: data[:-1] + b"\x99"]
)
def test_damaged_rows_are_an_error(
    fitted: tuple[list[Any], np.ndarray], tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "rows.safetensors"
    save_rows(path, fitted[0], "key")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match="expected intact baselines, got a damaged file"):
        load_rows(path, make_rows(), "key")
