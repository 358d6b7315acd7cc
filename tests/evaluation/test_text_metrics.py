from __future__ import annotations

import sys

import pytest

from latticegraph.errors import ConfigError, DataError
from latticegraph.evaluation.text_metrics import FUNCTION_WORDS, text_metrics, token_f1, words

MEANT = ["The cat sees the red door.", "Return a new list of names", "Nothing is written here"]


def test_words_are_those_of_a_reader() -> None:
    assert words("Isn't file_2 (a FILE)?") == ["isn't", "file_2", "a", "file"]
    assert words("the cat of the house", FUNCTION_WORDS) == ["cat", "house"]


def test_f1_counts_repeated_words() -> None:
    """3 and 4 words; 'a' and 'b' once in common: 2 * 2 / 7."""
    assert token_f1("a b b", "a a b c") == pytest.approx(4 / 7)
    assert token_f1("a b", "b a") == 1.0
    assert token_f1("", "a") == 0.0
    assert token_f1("the of", "a is", FUNCTION_WORDS) == 1.0  # no content in either


def test_the_same_texts_are_perfect() -> None:
    found = text_metrics(MEANT, MEANT)
    assert found == pytest.approx(
        {"bleu": 100.0, "chrf": 100.0, "token_f1": 1.0, "content_f1": 1.0, "exact": 1.0}
    )


def test_bleu_is_that_of_the_corpus() -> None:
    """Not the mean of sentences: the n-grams of all texts are counted together."""
    written = ["The cat sees the red door.", "Return a new list of things", "Something else"]
    found = text_metrics(written, MEANT)
    assert found["exact"] == pytest.approx(1 / 3)
    # Precisions of 1 to 4 words: 12 of 15, 10 of 12, 8 of 9, 6 of 7; 15 words for 17.
    by_hand = 100 * (12 / 15 * 10 / 12 * 8 / 9 * 6 / 7) ** 0.25 * 2.718281828 ** (1 - 17 / 15)
    assert found["bleu"] == pytest.approx(by_hand, rel=1e-6)
    assert 0 < found["content_f1"] < found["token_f1"] < 1


def test_wrong_calls_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="each of 3, got 2"):
        text_metrics(MEANT[:2], MEANT)
    with pytest.raises(DataError, match="got 0"):
        text_metrics([], [])
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    with pytest.raises(ConfigError, match=r"latticegraph\[decode\]"):
        text_metrics(MEANT, MEANT)
