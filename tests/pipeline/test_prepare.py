"""Text and embeddings of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from latticegraph.config import Config
from latticegraph.data import Sample
from latticegraph.errors import ConfigError, GraphError
from latticegraph.pipeline import prepare as module
from latticegraph.pipeline.prepare import build_model, embed_samples, prepare, text_fingerprint

CPU = torch.device("cpu")


def test_prepare_gives_every_sample_the_row_of_its_own_text(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    config = make_config(f"data.train={tmp_path / 'pairs.jsonl'}", "data.task=question_answer")
    prepared = prepare(config, CPU)
    lines = (tmp_path / "known.txt").read_text(encoding="utf-8").split("\n")
    rows = np.load(tmp_path / "rows.npy")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    for samples, pairs in (
        (prepared.splits.train, prepared.train),
        (prepared.splits.heldout, prepared.heldout),
    ):
        assert len(samples) == len(pairs)
        source = [lines.index(sample.source) for sample in samples]
        target = [lines.index(sample.target) for sample in samples]
        np.testing.assert_allclose(pairs.source_ND, rows[source], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(pairs.target_ND, rows[target], rtol=1e-5, atol=1e-7)


def test_prepare_of_reconstruction_shares_one_tensor_and_warms_the_cache(
    make_config: Callable[..., Config],
) -> None:
    first = prepare(make_config(), CPU)
    assert first.train.target_ND is first.train.source_ND
    assert first.hit_rate == 0.0
    assert prepare(make_config(), CPU).hit_rate == 1.0


def test_prepare_refuses_a_batch_larger_than_the_text(make_config: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match=r"training\.batch_size: expected batch_size \* accum"):
        prepare(make_config("training.batch_size=500"), CPU)


def test_build_model_refuses_too_few_steps(make_config: Callable[..., Config]) -> None:
    config = make_config("model.dynamics.steps=1", "model.dynamics.min_steps=1")
    with pytest.raises(GraphError, match=r"model\.dynamics\.steps: expected at least 2, got 1"):
        build_model(config, CPU)


def test_text_fingerprint_depends_on_learned_text_alone(
    make_config: Callable[..., Config],
) -> None:
    splits = prepare(make_config(), CPU).splits
    own = text_fingerprint(splits)
    assert text_fingerprint(replace(splits, heldout=())) == own
    assert text_fingerprint(replace(splits, train=splits.train[1:])) != own
    other = replace(splits.train[0], source="another text")
    assert text_fingerprint(replace(splits, train=(other, *splits.train[1:]))) != own


def test_prepare_refuses_text_whose_embeddings_do_not_fit_before_it_asks_the_teacher(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the teacher is asked")

    monkeypatch.setattr(module, "available_gb", lambda device: 1e-9)
    monkeypatch.setattr(module, "build_teacher", never)
    with pytest.raises(ConfigError, match=r"data\.train: expected text whose embeddings fit into"):
        prepare(make_config(), CPU)


def test_rows_of_consecutive_texts_are_views_and_others_are_in_order() -> None:
    known_ND = torch.arange(12.0).view(6, 2)

    class Cache:
        def embed(self, texts: list[str]) -> np.ndarray:
            return known_ND[[int(text) for text in texts]].numpy()

    first = [Sample(str(i), str(i), "g") for i in range(4)]
    second = [Sample("5", "1", "h"), Sample("4", "5", "h")]
    one, two = embed_samples(Cache(), [first, second])  # type: ignore[arg-type]
    assert torch.equal(one.source_ND, known_ND[:4])
    assert one.source_ND.untyped_storage().size() > one.source_ND.numel() * 4  # of all rows
    assert torch.equal(two.source_ND, known_ND[[5, 4]])
    assert torch.equal(two.target_ND, known_ND[[1, 5]])
