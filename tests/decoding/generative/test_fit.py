from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from latticegraph.decoding.decoder import unit_rows
from latticegraph.decoding.generative import CausalTransformer, TokenTexts, fit_decoder, fragments
from latticegraph.decoding.generative.batches import IGNORED
from latticegraph.decoding.generative.fit import validation_loss
from latticegraph.decoding.generative.vocabulary import END, PIECE
from latticegraph.errors import CheckpointError, ConfigError, TrainingError
from tests.decoding.generative.conftest import D, encode, sentences


def token_texts(vocabulary, texts) -> TokenTexts:
    rows = torch.from_numpy(unit_rows(encode(texts).astype(np.float64)).astype(np.float32))
    return TokenTexts(vocabulary.encode(texts, 16), rows)


@pytest.fixture
def parts(vocabulary) -> tuple[TokenTexts, TokenTexts]:
    texts = sentences()
    checked = texts[::9]
    return token_texts(vocabulary, [t for t in texts if t not in checked]), token_texts(
        vocabulary, checked
    )


def test_training_makes_the_embedding_matter(config, parts) -> None:
    train, validation = parts
    network = CausalTransformer(config.network, D)
    epochs = []
    best = fit_decoder(network, train, validation, config.training, 0, epochs.append)
    assert [epoch.number for epoch in epochs] == list(range(len(epochs)))
    assert epochs[0].validation_loss == pytest.approx(math.log(300), abs=0.3)
    assert best.validation_loss < 0.4 * epochs[0].validation_loss
    assert best.validation_loss == min(epoch.validation_loss for epoch in epochs)
    held = validation_loss(network, validation, config.training)
    assert held == pytest.approx(best.validation_loss, rel=1e-5)  # its best weights
    swapped = TokenTexts(
        [row.tolist() for row in validation._ids], validation.embedding_ND.roll(7, 0)
    )
    assert validation_loss(network, swapped, config.training) > held + 0.3
    assert not network.training


def test_training_repeats_by_seed(config, parts) -> None:
    settings = config.training.model_copy(update={"epochs": 1})

    def losses(seed: int) -> list[float]:
        made = []
        network = CausalTransformer(config.network, D)
        fit_decoder(network, *parts, settings, seed, lambda e: made.append(e.validation_loss))
        return made

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_training_stops_early(config, parts) -> None:
    stuck = config.training.model_copy(
        update={"epochs": 50, "learning_rate": 1e-12, "patience": 2, "weight_decay": 0.0}
    )
    epochs = []
    network = CausalTransformer(config.network, D)
    fit_decoder(network, *parts, stuck, 0, epochs.append)
    assert len(epochs) <= 6
    timed = config.training.model_copy(update={"epochs": 50, "max_minutes": 1e-9})
    epochs.clear()
    fit_decoder(network, *parts, timed, 0, epochs.append)
    assert [epoch.number for epoch in epochs] == [0, 1]


def test_a_loss_that_is_no_number_is_named(config, parts) -> None:
    network = CausalTransformer(config.network, D)
    train, validation = parts
    train.embedding_ND[3] = torch.nan
    with pytest.raises(TrainingError, match="finite loss in epoch 1"):
        fit_decoder(network, train, validation, config.training, 0, lambda epoch: None)


def test_batches_hold_every_text_once_and_pad_little(vocabulary) -> None:
    texts = token_texts(
        vocabulary, [" ".join(s.split()[: 2 + i % 5]) for i, s in enumerate(sentences())]
    )
    whole = [index.tolist() for index in texts.batches(64, torch.Generator().manual_seed(0))]
    assert sorted(itertools.chain(*whole)) == list(range(len(texts)))
    assert whole != [index.tolist() for index in texts.batches(64)]
    places = used = 0
    for index in texts.batches(64):
        batch = texts.batch(index)
        assert batch.target_BT.numel() <= 64
        assert batch.ids_BL.shape == (len(index), batch.target_BT.shape[1] - 1)
        places, used = places + batch.target_BT.numel(), used + batch.count
    assert used == texts.tokens
    assert used > 0.93 * places


def test_batch_reads_what_it_has_written(vocabulary) -> None:
    texts = token_texts(vocabulary, ["The cat sees two boats!", "A dog"])
    batch = texts.batch(torch.tensor([1, 0]))
    for ids, target, row in zip(batch.ids_BL, batch.target_BT, [1, 0], strict=True):
        real = target[target != IGNORED]
        assert real.tolist() == texts._ids[row].tolist()
        assert real[-1] == END
        assert torch.equal(ids[: len(real) - 1], real[:-1])


def test_vocabulary_writes_every_text(vocabulary) -> None:
    texts = ["The cat sees the red door.", "naïve 🙂 日本", "x"]
    ids = vocabulary.encode(texts, 99)
    assert all(row[-1] == END for row in ids)
    assert vocabulary.decode(ids) == texts
    assert vocabulary.decode([[*ids[0], *ids[1]]]) == texts[:1]
    assert vocabulary.encode(texts, 3)[0] == ids[0][:3]
    assert vocabulary.encode(["A dog"], 9, pieces=True)[0][0] == PIECE
    again = type(vocabulary).from_json(vocabulary.to_json(), 300, "here")
    assert again.encode(texts, 99) == ids
    with pytest.raises(CheckpointError, match=r"here.*of 299 entries, got: 300"):
        type(vocabulary).from_json(vocabulary.to_json(), 299, "here")
    with pytest.raises(ConfigError, match="more than"):
        type(vocabulary).learn(sentences(), 5000)


def _unknown_pair(stored: dict[str, Any]) -> None:
    stored["model"]["merges"].append(["zzz", "zzz"])


def _hole(stored: dict[str, Any]) -> None:
    vocab = stored["model"]["vocab"]
    vocab[max(vocab, key=vocab.__getitem__)] += 1


def _other_kind(stored: dict[str, Any]) -> None:
    stored["normalizer"] = {"type": "Lowercase"}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda stored: stored.clear(), "Field required"),
        (_unknown_pair, "pair 'zzz', 'zzz'"),
        (_hole, "ids that do not count from 0"),
        (_other_kind, "another kind of vocabulary"),
    ],
    ids=["empty", "pair", "ids", "kind"],
)
def test_damaged_vocabulary_is_refused(vocabulary, damage, words) -> None:
    stored = json.loads(vocabulary.to_json())
    damage(stored)
    with pytest.raises(CheckpointError, match=f"here.*of 300 entries, got: .*{words}"):
        type(vocabulary).from_json(json.dumps(stored), 300, "here")


def test_topic_starts_as_the_teachers_similarity(config, vocabulary) -> None:
    words = vocabulary.starts_of_words()
    assert len(words) == 300
    assert "The" in words
    rows = np.zeros((300, D), dtype=np.float64)
    known = [i for i, word in enumerate(words) if word]
    rows[known] = unit_rows(encode([words[i] for i in known]).astype(np.float64))
    network = CausalTransformer(config.network, D).double()
    network.start_from_tokens(torch.from_numpy(rows))
    weight = network.topic.weight.detach().numpy()
    assert not weight[[i for i in range(300) if i not in known]].any()
    centred = unit_rows(rows[known] - rows[known].mean(axis=0))
    np.testing.assert_allclose(weight[known], centred, atol=1e-12)


def test_fragments_are_pieces_of_the_texts() -> None:
    texts = sentences()
    made = fragments(texts, 2, seed=3)
    assert len(made) > 50
    assert len(set(made)) == len(made)
    assert all(any(f" {piece} " in f" {text} " for text in texts) for piece in made)
    assert not set(made) & set(texts)
    assert fragments(texts, 2, seed=3) == made
    assert fragments(texts, 2, seed=4) != made
    assert fragments(texts, 0, seed=3) == []
