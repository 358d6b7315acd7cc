from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from latticegraph.decoding import DecodedText, TextDecoder, text_decoder
from latticegraph.errors import DataError

Floats = NDArray[np.float64]

AXES = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])


def test_decoder_hand_computed() -> None:
    decoder = TextDecoder(["east", "north", "west"], AXES)
    assert decoder.decode(np.array([[6.0, 8.0], [-1.0, 0.0]]), k=2) == [
        [DecodedText("north", 0.8, 1), DecodedText("east", 0.6, 0)],
        [DecodedText("west", 1.0, 2), DecodedText("north", 0.0, 1)],
    ]


def test_decoder_finds_its_own_sentences() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 6))
    texts = [f"sentence {i}" for i in range(50)]
    decoded = TextDecoder(texts, torch.from_numpy(rows)).decode(torch.from_numpy(3 * rows))
    assert [best.text for (best,) in decoded] == texts
    assert all(best.cosine == 1.0 for (best,) in decoded)


def test_decoder_ties_go_to_the_earlier_sentence() -> None:
    decoder = TextDecoder(list("abcd"), np.ones((4, 3)))
    assert [d.text for d in decoder.decode(np.array([[1.0, 2.0, 3.0]]), k=4)[0]] == list("abcd")
    zero = decoder.decode(np.zeros((1, 3)))[0][0]
    assert zero == DecodedText("a", 0.0, 0)


def test_decoder_counts_repeated_sentences_once() -> None:
    decoder = TextDecoder(["x", "x", "y"], np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    assert decoder.texts == ("x", "y")
    assert [d.index for d in decoder.decode(np.array([[1.0, 0.1]]), k=2)[0]] == [0, 2]


@settings(deadline=None, max_examples=20, derandomize=True)
@given(seed=st.integers(0, 1000), block=st.integers(1, 40))
def test_decoder_does_not_depend_on_batch_or_block(seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    rows, query = rng.normal(size=(11, 4)), rng.normal(size=(5, 4))
    decoder = TextDecoder([str(i) for i in range(11)], rows)
    whole = decoder.decode(query, k=3)
    cosine = query @ rows.T / np.outer(*(np.linalg.norm(x, axis=1) for x in (query, rows)))
    wanted = np.argsort(-cosine, axis=1)[:, :3]
    assert [[one.index for one in found] for found in whole] == wanted.tolist()
    assert [decoder.decode(one[None], k=3)[0] for one in query] == whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_decoder, "_BLOCK_NUMBERS", block)
        assert decoder.decode(query, k=3) == whole


def test_decoder_empty_batch_gives_nothing() -> None:
    assert TextDecoder(["a"], np.ones((1, 2))).decode(np.zeros((0, 2))) == []


@pytest.mark.parametrize(
    ("texts", "rows", "message"),
    [
        (["a"], np.ones((2, 2)), r"decoder\.embeddings: expected one row per text \(1\), got 2"),
        ([], np.ones((0, 2)), r"decoder\.texts: expected at least one text, got none"),
        (["a"], np.ones(2), r"expected one row per sample \[B, D\], got shape \(2,\)"),
        (["a"], np.array([[np.nan, 1]]), "expected finite numbers, got NaN or infinity"),
    ],
)
def test_decoder_rejects_malformed_sentences(texts: list[str], rows: Floats, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TextDecoder(texts, rows)


@pytest.mark.parametrize(
    ("query", "k", "message"),
    [
        (np.ones((1, 3)), 1, "prediction: expected width 2 as the known sentences have, got 3"),
        (np.ones(2), 1, r"prediction: expected one row per sample \[B, D\], got shape \(2,\)"),
        (np.ones((1, 2)), 0, "k: expected 1 to 3 sentences, got 0"),
        (np.ones((1, 2)), 4, "k: expected 1 to 3 sentences, got 4"),
    ],
)
def test_decoder_rejects_malformed_predictions(query: Floats, k: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TextDecoder(["east", "north", "west"], AXES).decode(query, k)
