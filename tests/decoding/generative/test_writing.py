from __future__ import annotations

import itertools

import pytest
import torch

from latticegraph.config import DecoderNetworkSettings
from latticegraph.decoding.generative import CausalTransformer, writing
from latticegraph.decoding.generative.vocabulary import END, PIECE, UNKNOWN
from latticegraph.decoding.generative.writing import write_drawn, write_likely

D, V, LONGEST = 6, 7, 3


@pytest.fixture
def network() -> CausalTransformer:
    settings = DecoderNetworkSettings(
        width=8, layers=1, heads=2, prefix_tokens=2, dropout=0.0
    ).model_copy(update={"vocabulary": V, "max_tokens": LONGEST})
    made = CausalTransformer(settings, D).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(0.4 * torch.randn_like(parameter))
        made.tokens.weight[END] *= 0.5
    return made


@pytest.fixture
def rows() -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(5, D, dtype=torch.float64), dim=1)


def logs(network: CausalTransformer, row: torch.Tensor, ids: list[int]) -> torch.Tensor:
    """Log-probabilities of the next token, without memory."""
    scores = network(row[None], torch.tensor([ids], dtype=torch.long))[0, -1]
    scores[[UNKNOWN, PIECE]] = -torch.inf
    return scores.log_softmax(0)


def all_texts(network: CausalTransformer, row: torch.Tensor) -> dict[tuple[int, ...], float]:
    """Mean log-probability of every text there is."""
    words = [i for i in range(V) if i not in (END, UNKNOWN, PIECE)]
    made = {}
    for length in range(LONGEST + 1):
        for ids in itertools.product(words, repeat=length):
            tokens = [*ids, END][:LONGEST]
            total = sum(float(logs(network, row, list(ids[:i]))[t]) for i, t in enumerate(tokens))
            made[ids] = total / len(tokens)
    return made


@torch.no_grad()
def test_beams_find_the_likeliest_of_all_texts(network, rows) -> None:
    for row in rows:
        exact = sorted(all_texts(network, row).items(), key=lambda item: -item[1])
        found = write_likely(network, row[None], beams=150)[0]
        for written, (ids, score) in zip(found[:5], exact, strict=False):
            assert tuple(written.ids) == ids
            assert written.score == pytest.approx(score, abs=1e-9)


@torch.no_grad()
def test_one_beam_takes_the_likeliest_token(network, rows) -> None:
    for row, (written,) in zip(rows, write_likely(network, rows, beams=1), strict=True):
        ids: list[int] = []
        while len(ids) < LONGEST and (token := int(logs(network, row, ids).argmax())) != END:
            ids.append(token)
        assert written.ids == ids


@torch.no_grad()
def test_more_beams_are_no_less_likely(network, rows) -> None:
    one, four = write_likely(network, rows, 1), write_likely(network, rows, 4)
    assert all(b[0].score >= a[0].score - 1e-12 for a, b in zip(one, four, strict=True))
    assert all(len(row) == 4 for row in four)


@torch.no_grad()
def test_drawn_tokens_have_the_probabilities_of_the_network(network, rows) -> None:
    drawn = write_drawn(network, rows[:1], 4000, temperature=1.5, top_p=1.0, seed=1)[0]
    first = [one.ids[0] if one.ids else END for one in drawn]
    share = torch.bincount(torch.tensor(first), minlength=V) / 4000
    wanted = (logs(network, rows[0], []) / 1.5).softmax(0)
    assert (share - wanted).abs().max() < 0.03
    assert wanted.max() < 0.95


@torch.no_grad()
def test_top_p_leaves_out_unlikely_tokens(network, rows) -> None:
    for row in rows:
        share, order = logs(network, row, []).exp().sort(descending=True)
        kept = int((share.cumsum(0) - share < 0.6).sum())
        drawn = write_drawn(network, row[None], 300, temperature=1.0, top_p=0.6, seed=0)[0]
        first = {one.ids[0] if one.ids else END for one in drawn}
        assert first <= set(order[:kept].tolist())
    one = write_drawn(network, rows, 3, temperature=1.0, top_p=1e-9, seed=0)
    likely = write_likely(network, rows, 1)
    assert all(a.ids == b[0].ids for row, b in zip(one, likely, strict=True) for a in row)


@torch.no_grad()
def test_sorting_few_tokens_first_changes_nothing(network, rows, monkeypatch) -> None:
    for top_p in (0.5, 0.9, 1.0):
        whole = write_drawn(network, rows, 20, temperature=1.0, top_p=top_p, seed=0)
        with monkeypatch.context() as patch:
            patch.setattr(writing, "LIKELY", 2)
            assert write_drawn(network, rows, 20, temperature=1.0, top_p=top_p, seed=0) == whole


@torch.no_grad()
def test_drawing_repeats_by_seed_and_not_by_company(network, rows) -> None:
    def draw(rows: torch.Tensor, seed: int) -> list[list[list[int]]]:
        made = write_drawn(network, rows, 6, temperature=1.0, top_p=0.95, seed=seed)
        return [[one.ids for one in row] for row in made]

    whole = draw(rows, 0)
    assert draw(rows, 0) == whole
    assert [draw(row[None], 0)[0] for row in rows] == whole
    assert draw(rows, 1) != whole
    exact = all_texts(network, rows[0])
    made = write_drawn(network, rows[:1], 6, temperature=1.0, top_p=0.95, seed=0)[0]
    for one in made:
        assert one.score == pytest.approx(exact[tuple(one.ids)], abs=1e-9)
