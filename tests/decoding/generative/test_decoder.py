from __future__ import annotations

import numpy as np
import pytest
import torch

from latticegraph.decoding.generative import GenerativeDecoder
from latticegraph.errors import ConfigError, DataError
from tests.decoding.generative.conftest import TEACHER, D, encode, sentences


@pytest.fixture
def rows() -> np.ndarray:
    return encode(sentences()[:5])


def cosines(texts: list[str], row: np.ndarray) -> np.ndarray:
    made = encode(texts).astype(np.float64)
    return made @ row / np.linalg.norm(made, axis=1) / np.linalg.norm(row)


def test_best_is_the_nearest_of_the_greedy_and_the_drawn_texts(decoder, rows) -> None:
    found = decoder.decode(rows, k=4)
    greedy = decoder.using("greedy").decode(rows)
    for row, texts, (one,) in zip(rows, found, greedy, strict=True):
        names = [text.text for text in texts]
        assert one.text in names
        assert len(set(names)) == len(names)
        np.testing.assert_allclose([t.score for t in texts], cosines(names, row), atol=1e-6)
        assert [t.score for t in texts] == sorted([t.score for t in texts], reverse=True)
    assert any(len(texts) > 2 for texts in found)
    assert any(texts[0].text != one.text for texts, (one,) in zip(found, greedy, strict=True))


def test_length_and_kind_of_an_embedding_change_nothing(decoder, rows) -> None:
    once = decoder.decode(rows, 2)
    assert decoder.decode(3 * rows.astype(np.float64), 2) == once
    assert decoder.decode(torch.from_numpy(rows), 2) == once


def test_texts_depend_on_the_embedding_and_repeat(decoder, rows) -> None:
    for method in ("greedy", "beam", "sample"):
        used = decoder.using(method)
        first = used.decode(rows)
        assert used.decode(rows) == first
        assert len({row[0].text for row in first}) > 1, method
        assert all(row[0].score <= 0 for row in first)
    assert len(decoder.using("beam").decode(rows, 4)[0]) > 1


def test_a_decoder_is_frozen(decoder, rows) -> None:
    """Gradients flow neither into it nor through it, whatever else trains."""
    before = {name: value.clone() for name, value in decoder.network.state_dict().items()}
    leaf = torch.from_numpy(rows).requires_grad_()
    decoder.decode(leaf)
    assert not decoder.network.training
    assert all(not p.requires_grad and p.grad is None for p in decoder.network.parameters())
    assert leaf.grad is None
    after = decoder.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_wrong_calls_are_refused(decoder, rows) -> None:
    with pytest.raises(DataError, match="expected width 12"):
        decoder.decode(np.ones((1, 5)))
    with pytest.raises(DataError, match="1 to 4"):
        decoder.decode(rows, 5)
    with pytest.raises(DataError, match="NaN"):
        decoder.decode(np.full((1, D), np.nan))
    alone = GenerativeDecoder(decoder.network, decoder.vocabulary, TEACHER, decoder.settings)
    with pytest.raises(ConfigError, match="a teacher for the method 'best'"):
        alone.decode(rows)
    assert len(alone.using("greedy").decode(rows)) == 5
