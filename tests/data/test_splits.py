"""Splits share no group and no text, keep to their sizes, and depend on seed and content only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticegraph.config import DataSettings
from latticegraph.data.sample import Sample, text_key
from latticegraph.data.splits import Splits, apart_from, choose_groups, load_samples
from latticegraph.errors import DataError

WORDS = ["yes", "No", "well", "sure ", "why", "not", "OK"]


def write_rows(path: Path, rows: Sequence[dict[str, object]]) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


def talk(group: object, *texts: str) -> list[dict[str, object]]:
    return [{"text": text, "conversation": group} for text in texts]


def conversations(count: int, turns: int = 4) -> list[dict[str, object]]:
    return [row for c in range(count) for row in talk(c, *(f"{c} says {t}" for t in range(turns)))]


def load(train: str, **changes: object) -> Splits:
    values: dict[str, object] = {"train": (train,), "min_sentences": 4} | changes
    return load_samples(DataSettings.model_validate(values))


def assert_apart(splits: Splits) -> None:
    parts = (splits.train, splits.validation, splits.heldout)
    for index, part in enumerate(parts):
        assert part
        for other in parts[index + 1 :]:
            assert not {s.group for s in part} & {s.group for s in other}
            texts = {text_key(s.source) for s in part}
            assert not texts & {text_key(s.source) for s in other}


def test_load_samples_keeps_conversations_whole_and_sizes_near_the_shares(tmp_path: Path) -> None:
    splits = load(write_rows(tmp_path / "a.jsonl", conversations(50)), heldout=0.2)
    assert_apart(splits)
    assert (len(splits.heldout), len(splits.validation), len(splits.train)) == (40, 8, 152)
    assert splits.dropped == 0


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(WORDS), st.sampled_from(WORDS)), max_size=60
    ),
    seed=st.integers(0, 3),
)
def test_load_samples_never_leaks_shared_questions(
    rows: list[tuple[int, str, str]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("qa") / "a.jsonl"
    data: list[dict[str, object]] = [
        {"question": question, "answer": answer, "conversation": group}
        for group, question, answer in rows
    ]
    data += [
        {"question": f"q{g} {t}", "answer": "a", "conversation": g}
        for g in range(10)
        for t in range(4)
    ]
    splits = load(write_rows(path, data), task="question_answer", split_seed=seed, heldout=0.2)
    assert_apart(splits)


def test_load_samples_keeps_questions_shared_by_two_groups_out_of_training(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"question": question, "answer": f"answer {group}", "conversation": group}
        for group in range(12)
        for question in (f"own {group}", f"also own {group}", f"shared {group // 2}")
    ]
    path = write_rows(tmp_path / "a.jsonl", rows)
    dropped = 0
    for seed in range(10):
        splits = load(path, task="question_answer", split_seed=seed, validation=0.3, heldout=0.2)
        assert_apart(splits)
        dropped += splits.dropped
    assert dropped > 0


def test_load_samples_depends_on_the_seed_but_not_on_the_order(tmp_path: Path) -> None:
    rows = conversations(30)
    first = load(write_rows(tmp_path / "a.jsonl", rows))
    turned = load(write_rows(tmp_path / "b.jsonl", rows[::-1]))
    other = load(write_rows(tmp_path / "c.jsonl", rows), split_seed=1)
    assert set(first.heldout) == set(turned.heldout)
    assert set(first.validation) == set(turned.validation)
    assert set(first.heldout) != set(other.heldout)


def test_load_samples_of_dialogues_follows_the_seed() -> None:
    held = [load("dialogues", task="question_answer", split_seed=seed).heldout for seed in (0, 1)]
    assert {s.group for s in held[0]} != {s.group for s in held[1]}
    assert all(40 < len(part) < 110 for part in held)


def test_load_samples_counts_repeats_across_groups_as_dropped(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", conversations(10))
    write_rows(tmp_path / "b.jsonl", talk("b", "0 SAYS 0", "3 says  2", "a new one"))
    both = (str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"))
    splits = load_samples(DataSettings(train=both, min_sentences=4))
    assert splits.dropped == 2
    assert len(splits.train) + len(splits.validation) + len(splits.heldout) == 41
    assert_apart(splits)


def test_load_samples_holds_files_out_and_drops_what_they_share(tmp_path: Path) -> None:
    train = write_rows(tmp_path / "a.jsonl", conversations(10))
    held = write_rows(
        tmp_path / "b.jsonl", talk(3, "a new line of 3") + talk("x", "5 Says 1", "another line")
    )
    splits = load(train, heldout=(held,))
    assert [s.source for s in splits.heldout] == ["a new line of 3", "5 Says 1", "another line"]
    assert_apart(splits)
    # All four turns of conversation 3, and one turn of conversation 5.
    assert splits.dropped == 5
    assert len(splits.train) + len(splits.validation) == 35


def test_load_samples_reads_built_in_names_as_heldout(tmp_path: Path) -> None:
    splits = load(write_rows(tmp_path / "a.jsonl", conversations(4)), heldout=("dialogues",))
    assert len({sample.group for sample in splits.heldout}) == 30


def test_load_samples_needs_three_groups(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", conversations(1, turns=9) + talk("b", "one", "two"))
    with pytest.raises(
        DataError, match=r"data\.train: expected at least 3 groups .*, got 2 \(11 samples\)"
    ):
        load(path)


def test_load_samples_needs_two_groups_beside_heldout_files(tmp_path: Path) -> None:
    train = write_rows(tmp_path / "a.jsonl", conversations(1, turns=9))
    held = write_rows(tmp_path / "b.jsonl", talk("b", "one", "two"))
    with pytest.raises(DataError, match=r"expected at least 2 groups .* validation and training"):
        load(train, heldout=(held,))


def test_load_samples_too_small_names_the_counts(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", conversations(10))
    with pytest.raises(
        DataError,
        match=r"data\.min_sentences: expected at least 200 training samples, got 32 "
        r"\(4 for validation, 4 held out, 0 dropped as repeats\)",
    ):
        load(path, min_sentences=200)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=30),
    share=st.floats(0.05, 0.85),
)
def test_choose_groups_comes_near_the_share(sizes: list[int], share: float) -> None:
    named = {f"g{index}": size for index, size in enumerate(sizes)}
    chosen = choose_groups(named, share, "salt")
    count = sum(named[group] for group in chosen)
    assert 0 < len(chosen) < len(named)
    assert abs(count - share * sum(sizes)) <= max(sizes)


def test_choose_groups_passes_over_a_giant() -> None:
    sizes = {"giant": 500} | {f"g{index}": 5 for index in range(100)}
    for seed in range(20):
        chosen = choose_groups(sizes, 0.1, f"seed {seed}")
        assert "giant" not in chosen
        assert len(chosen) == 20


def test_choose_groups_takes_the_smallest_when_all_are_too_large() -> None:
    assert choose_groups({"a": 1000, "b": 30, "c": 2000}, 0.001, "s") == {"b"}


def test_apart_from_drops_by_group_and_by_text() -> None:
    samples = [Sample("A b", "x", "1"), Sample("c", "y", "2"), Sample("d", "z", "3")]
    reserved = [Sample("a  B", "q", "9"), Sample("other", "q", "3")]
    assert apart_from(samples, reserved) == [samples[1]]


def test_causes_of_too_little_text_are_named(tmp_path: Path) -> None:
    same, other = tmp_path / "same.txt", tmp_path / "other.txt"
    same.write_text("One line.\n" * 505, encoding="utf-8")
    other.write_text("\n".join(f"Line {i}." for i in range(9)), encoding="utf-8")
    with pytest.raises(DataError, match=r"got 1 \(1 samples; 504 of 505 are repeats"):
        load_samples(DataSettings(train=(str(same),)))
    with pytest.raises(
        DataError, match=r"data\.heldout: expected other text than data\.train, got "
    ):
        load_samples(DataSettings(train=(str(other),), heldout=(str(other),)))
