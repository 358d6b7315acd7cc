"""The dialogues that come with the package."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from latticegraph.data.dialogues import dialogue_samples, dialogue_turns
from latticegraph.data.sample import text_key


def test_dialogue_turns_are_thirty_dialogues_in_order() -> None:
    turns = dialogue_turns()
    lengths = Counter(turn["dialogue"] for turn in turns)
    assert len(lengths) == 30
    assert len(turns) >= 600
    for name, length in lengths.items():
        numbers = [turn["turn"] for turn in turns if turn["dialogue"] == name]
        assert numbers == list(range(1, length + 1))


def test_dialogue_turns_have_different_texts_and_emoji() -> None:
    texts = [turn["text"] for turn in dialogue_turns()]
    assert len({text_key(text) for text in texts}) == len(texts)
    assert any("\U0001f300" <= character <= "\U0001faff" for text in texts for character in text)


def test_dialogue_samples_pair_each_turn_with_the_next_of_its_dialogue() -> None:
    turns = dialogue_turns()
    pairs = {(sample.source, sample.target) for sample in dialogue_samples("question_answer")}
    assert len(pairs) == len(turns) - 30
    for turn, reply in pairwise(turns):
        same = turn["dialogue"] == reply["dialogue"]
        assert ((turn["text"], reply["text"]) in pairs) == same


def test_dialogue_samples_reconstruct_every_turn_in_its_dialogue() -> None:
    turns, samples = dialogue_turns(), dialogue_samples("reconstruction")
    assert [(s.source, s.target, s.group) for s in samples] == [
        (turn["text"], turn["text"], f"dialogue:{turn['dialogue']}") for turn in turns
    ]
