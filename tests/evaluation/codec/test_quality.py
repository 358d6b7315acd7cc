from __future__ import annotations

import numpy as np
import pytest

from latticegraph.errors import DataError
from latticegraph.evaluation.codec import CodecQuality
from latticegraph.evaluation.codec import quality as room
from latticegraph.evaluation.codec.quality import nearest, overlap, spearman


@pytest.fixture
def embeddings():
    return np.random.default_rng(0).normal(size=(1500, 16))


def test_identity_keeps_everything(embeddings):
    quality = CodecQuality(embeddings, np.zeros(16))
    assert quality.measure(lambda source: source) == {
        "explained_variance": 1.0,
        "recall_at_10": 1.0,
        "cosine_spearman": pytest.approx(1.0),
    }
    assert quality.counts == {"texts": 1500, "queries": 1500, "pairs": 200_000}


def test_random_code_is_at_chance(embeddings):
    random = np.random.default_rng(1)
    quality = CodecQuality(embeddings, np.zeros(16))
    found = quality.measure(lambda source: random.normal(size=source.shape))
    chance = 10 / 1499  # 15,000 draws: a standard error of 0.0007
    assert found["recall_at_10"] == pytest.approx(chance, abs=0.003)
    assert found["cosine_spearman"] == pytest.approx(0, abs=0.02)
    assert found["explained_variance"] == pytest.approx(-1, abs=0.1)


def test_mean_explains_and_ranks_nothing(embeddings):
    mean = embeddings.mean(axis=0)
    found = CodecQuality(embeddings, mean).measure(lambda source: np.tile(mean, (len(source), 1)))
    assert found["explained_variance"] == pytest.approx(0)
    assert found["cosine_spearman"] == 0
    assert found["recall_at_10"] < 0.05


def test_nearest_is_the_naive_search_without_the_text_itself(embeddings, monkeypatch):
    monkeypatch.setattr(room, "_BLOCK", 7)
    queries = np.array([3, 700, 4, 1499, 0, 11, 12, 13, 14])
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    for query, found in zip(queries, nearest(embeddings, queries), strict=True):
        order = np.argsort(-(unit @ unit[query]))
        assert order[0] == query
        assert set(found) == set(order[1:11])


def test_overlap_counts_true_neighbours_in_any_order():
    assert overlap(np.array([[1, 2], [5, 6]]), np.array([[2, 9], [6, 5]])) == 0.75


def test_spearman_by_hand():
    # Ranks differ by 1, 1, 0, 0: 1 - 6 * 2 / (4 * 15).
    assert spearman(np.array([1.0, 2, 3, 4]), np.array([20.0, 10, 30, 999])) == pytest.approx(0.8)
    assert spearman(np.ones(4), np.arange(4.0)) == 0


def test_pairs_of_few_texts_are_all_pairs_and_of_many_a_fixed_sample():
    assert {tuple(pair) for pair in room._pairs(4, 6).T} == {
        (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3),
    }  # fmt: skip
    first, second = room._pairs(1000, 500)
    assert len(first) == 500
    assert (first != second).all()
    assert np.array_equal(room._pairs(1000, 500), [first, second])


def test_large_sets_are_sampled_evenly(monkeypatch):
    monkeypatch.setattr(room, "_TEXTS", 100)
    monkeypatch.setattr(room, "_QUERIES", 20)
    rows = np.random.default_rng(0).normal(size=(1000, 4))
    quality = CodecQuality(rows, np.zeros(4))
    assert quality.counts == {"texts": 100, "queries": 20, "pairs": 4950}
    assert np.array_equal(quality.source_ND[[0, -1]], rows[[0, -1]])


def test_sts_correlation_is_of_decoded_embeddings(tmp_path, embeddings):
    pairs = [("a", "b", 5), ("a", "c", 3), ("a", "d", 0)]
    lines = ["sentence1\tsentence2\tscore", *("\t".join(map(str, pair)) for pair in pairs)]
    (tmp_path / "sts.tsv").write_text("\n".join(lines), encoding="utf-8")
    angle = {"a": 0.0, "b": 0.1, "c": 0.5, "d": 1.5}

    def embed(texts):
        rows = np.zeros((len(texts), 16))
        rows[:, 0] = [np.cos(angle[text]) for text in texts]
        rows[:, 1] = [np.sin(angle[text]) for text in texts]
        return rows

    quality = CodecQuality(embeddings, np.zeros(16), tmp_path / "sts.tsv", embed)
    assert quality.measure(lambda source: source)["sts_spearman"] == pytest.approx(1)
    flat = quality.measure(lambda source: np.ones_like(source) + 0 * source)
    assert flat["sts_spearman"] == 0


def test_too_few_texts_are_refused():
    with pytest.raises(DataError, match=r"--data: expected at least 12 unseen texts .* got 11"):
        CodecQuality(np.eye(11), np.zeros(11))
