"""Classes of text: labels that come with it, sources, clusters, and what is refused."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from latticegraph.analysis.classes import cluster_names, clusters
from latticegraph.analysis.study import StudyText, usable
from latticegraph.data import Sample
from latticegraph.errors import DataError
from latticegraph.evaluation import EmbeddingSplit
from latticegraph.pipeline.analyse_text import read_text, study_text


def test_clusters_are_found_and_named_by_their_words():
    random = np.random.default_rng(0)
    centre = 5 * np.eye(3)[random.integers(0, 3, size=300)]
    rows = centre + 0.1 * random.normal(size=centre.shape)
    code_S = clusters(rows[:200], rows[200:], 3)
    truth = centre[200:].argmax(axis=1)
    assert {(a, b) for a, b in zip(code_S.tolist(), truth.tolist(), strict=True)} == {
        (code_S[truth == kind][0], kind) for kind in range(3)
    }
    words = np.array(["the file opens", "the cat sleeps", "the sea is cold"])
    names = cluster_names(words[truth].tolist(), code_S)
    assert names[code_S[truth == 1][0]].endswith(": cat sleeps the")


def test_labelled_pairs_are_one_text(tmp_path):
    rows = [
        {"sentence1": "A dog runs.", "sentence2": "It sleeps.", "gold_label": "contradiction"},
        {"sentence1": "A dog runs.", "sentence2": "It moves.", "gold_label": "entailment"},
        {"text": "Plain.", "label": 3, "group": "g"},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = read_text(str(path))
    assert [one.sample.source for one in found] == [
        "A dog runs. It sleeps.",
        "A dog runs. It moves.",
        "Plain.",
    ]
    assert [one.label for one in found] == ["contradiction", "entailment", "3"]
    assert found[0].sample.group == found[1].sample.group != found[2].sample.group
    path.write_text('{"text": "a", "label": null}', encoding="utf-8")
    with pytest.raises(DataError, match=r"rows.jsonl:1: expected a name or a whole number"):
        read_text(str(path))


def prepared(samples, seen=()):
    """What the text of an analysis needs of a run; embeddings follow the first letter."""

    def embed(texts):
        random = np.random.default_rng(0)
        rows = [np.eye(6)[ord(text[0]) % 6] + 0.05 * random.normal(size=6) for text in texts]
        return np.array(rows, dtype=np.float32)

    import torch

    from latticegraph.training import EmbeddingPairs

    known = torch.from_numpy(embed([f"{letter}{i}" for i in range(30) for letter in "abcd"]))
    splits = SimpleNamespace(heldout=samples, train=[Sample(t, t, t) for t in seen], validation=[])
    cache = SimpleNamespace(embed=embed)
    return SimpleNamespace(splits=splits, cache=cache, train=EmbeddingPairs(known, known))


def test_sources_are_classes_where_both_have_groups_and_clusters_otherwise():
    samples = [
        Sample(
            f"{'ab'[i % 2]} {i}", f"{'ab'[i % 2]} {i}", f"{('stdlib', 'dialogue')[i % 2]}:{i % 14}"
        )
        for i in range(140)
    ]
    text = study_text(prepared(samples), None, 100)
    assert len(text.texts) == 100
    assert set(text.labels) == {"stdlib", "dialogue"}
    assert not text.own_labels
    one = [Sample(s.source, s.target, s.group.replace("dialogue", "stdlib")) for s in samples]
    text = study_text(prepared(one), None, 1000)
    assert "4 clusters (k-means) of the teacher's embeddings" in text.origin
    assert len(set(text.labels)) == 2  # two letters, two clusters in use
    assert len(set(text.types)) > 1


def test_seen_texts_are_left_out(tmp_path):
    rows = [{"text": f"{'ab'[i % 2]} {i}", "label": "xy"[i % 2]} for i in range(80)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, [*rows, *rows])), encoding="utf-8")
    text = study_text(prepared([], seen=["A 0", "b 1"]), str(path), 1000)
    assert len(text.texts) == 78
    assert text.own_labels
    with pytest.raises(DataError, match="got only seen text"):
        study_text(prepared([], seen=[row["text"] for row in rows]), str(path), 1000)


def test_rare_classes_are_left_out_and_one_class_is_refused():
    rows = np.random.default_rng(0).normal(size=(60, 3))

    def text(labels):
        return StudyText(
            texts=[str(i) for i in range(60)],
            split=EmbeddingSplit(rows, rows),
            labels=labels,
            groups=[f"g{i % 20}" for i in range(60)],
            types=[0] * 60,
            origin="",
            own_labels=True,
        )

    kept = usable(text(["ab"[i // 3 % 2] for i in range(58)] + ["c"] * 2), 1000)
    assert set(kept.labels) == {"a", "b"}
    assert len(kept.split.source_ND) == len(kept.texts) == 58
    with pytest.raises(DataError, match="expected at least two classes with 12 samples or more"):
        usable(text(["a"] * 60), 1000)
