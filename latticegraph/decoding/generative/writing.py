"""Token after token: the likeliest, the likeliest of several texts, or drawn.

Legend: B texts, D teacher width, K candidates, W beams, V vocabulary, R rows computed at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latticegraph.decoding.generative.network import CausalTransformer
from latticegraph.decoding.generative.vocabulary import END, PIECE, UNKNOWN

LIKELY = 256
"""Tokens that are sorted first; all of them only where these are too improbable."""


@dataclass(frozen=True)
class Written:
    """Token ids of a text.

    Args:
        ids: without the end.
        score: mean log-probability of its tokens, the end included, in nats.
    """

    ids: list[int]
    score: float


@torch.no_grad()
def write_likely(
    network: CausalTransformer, embedding_BD: Tensor, beams: int
) -> list[list[Written]]:
    """The likeliest texts by beam search; with one beam the greedy text.

    Texts are compared by the mean log-probability of their tokens, so that short ones have no
    advantage.

    Args:
        network: in evaluation mode.
        embedding_BD: of length 1.
        beams: texts that are followed at once.

    Shapes:
        embedding_BD: [B, D]; result: B lists of ``beams``, likeliest first.
    """
    count = len(embedding_BD)
    scores_RV, state = network.start(embedding_BD)
    state = state.select(torch.arange(count).repeat_interleave(beams))
    logs_BWV = _logs(scores_RV)[:, None].repeat(1, beams, 1)
    sum_BW = logs_BWV.new_full((count, beams), -torch.inf)
    sum_BW[:, 0] = 0  # all beams start as the same text
    length_BW = torch.zeros_like(sum_BW)
    done_BW = torch.zeros_like(sum_BW, dtype=torch.bool)
    ids_BWL = torch.empty(count, beams, 0, dtype=torch.long)
    for place in range(network.settings.max_tokens):
        # A finished text goes on with its end alone, at no cost.
        logs_BWV[done_BW] = -torch.inf
        logs_BWV[..., END][done_BW] = 0
        next_BWV = sum_BW[..., None] + logs_BWV
        length_BW = length_BW + ~done_BW
        mean_BX = (next_BWV / length_BW[..., None]).flatten(1)
        _, chosen_BW = mean_BX.topk(beams, dim=1)
        beam_BW, token_BW = chosen_BW // logs_BWV.shape[2], chosen_BW % logs_BWV.shape[2]
        sum_BW = next_BWV.flatten(1).gather(1, chosen_BW)
        length_BW = length_BW.gather(1, beam_BW)
        done_BW = done_BW.gather(1, beam_BW) | (token_BW == END)
        before = ids_BWL.gather(1, beam_BW[..., None].expand(-1, -1, ids_BWL.shape[2]))
        ids_BWL = torch.cat([before, token_BW[..., None]], dim=2)
        if bool(done_BW.all()) or place + 1 == network.settings.max_tokens:
            break
        rows_R = (beam_BW + beams * torch.arange(count)[:, None]).flatten()
        state = state.select(rows_R)
        logs_BWV = _logs(network.step(token_BW.flatten(), state)).unflatten(0, (count, beams))
    return _lists(ids_BWL, sum_BW / length_BW)


@torch.no_grad()
def write_drawn(
    network: CausalTransformer,
    embedding_BD: Tensor,
    candidates: int,
    temperature: float,
    top_p: float,
    seed: int,
) -> list[list[Written]]:
    """Texts drawn token by token (nucleus sampling; Holtzman et al. 2020).

    Candidate k of every embedding uses the same random numbers, so that a text does not depend on
    the other embeddings of a call.

    Args:
        network: in evaluation mode.
        embedding_BD: of length 1.
        candidates: texts of each.
        temperature: the logarithms of the probabilities are divided by it.
        top_p: the likeliest tokens that together have this probability may be drawn.
        seed: of the random numbers.

    Shapes:
        embedding_BD: [B, D]; result: B lists of ``candidates``, in the order of their numbers.
    """
    count, longest = len(embedding_BD), network.settings.max_tokens
    generator = torch.Generator().manual_seed(seed)
    uniform_RL = torch.rand(candidates, longest, generator=generator).repeat(count, 1)
    index_R = torch.arange(count).repeat_interleave(candidates)
    scores_BV, state = network.start(embedding_BD)
    state, logs_RV = state.select(index_R), _logs(scores_BV)[index_R]
    sum_R = logs_RV.new_zeros(len(index_R))
    length_R = torch.zeros_like(sum_R)
    done_R = torch.zeros_like(sum_R, dtype=torch.bool)
    ids: list[Tensor] = []
    for place in range(longest):
        token_R = _draw(logs_RV / temperature, top_p, uniform_RL[:, place])
        token_R = token_R.masked_fill(done_R, END)
        log_R = logs_RV.gather(1, token_R[:, None])[:, 0]
        sum_R = sum_R + log_R.masked_fill(done_R, 0)
        length_R = length_R + ~done_R
        ids.append(token_R)
        done_R = done_R | (token_R == END)
        if bool(done_R.all()) or place + 1 == longest:
            break
        logs_RV = _logs(network.step(token_R, state))
    shape = (count, candidates)
    return _lists(torch.stack(ids, 1).unflatten(0, shape), (sum_R / length_R).unflatten(0, shape))


def _logs(scores_RV: Tensor) -> Tensor:
    """Log-probabilities; of the marks, the end alone is ever written."""
    scores_RV = scores_RV.clone()
    scores_RV[:, [UNKNOWN, PIECE]] = -torch.inf
    return scores_RV.log_softmax(dim=1)


def _draw(logs_RV: Tensor, top_p: float, uniform_R: Tensor) -> Tensor:
    """One token of each row, where the sum of the sorted probabilities passes a random number."""
    all_RV = logs_RV.softmax(dim=1)
    share_RV, order_RV = all_RV.topk(min(LIKELY, all_RV.shape[1]), dim=1)
    if bool((share_RV.sum(dim=1) < top_p).any()):  # more tokens may be drawn
        share_RV, order_RV = all_RV.sort(dim=1, descending=True, stable=True)
    before_RV = share_RV.cumsum(dim=1) - share_RV
    share_RV = share_RV.masked_fill(before_RV >= top_p, 0)
    sum_RV = share_RV.cumsum(dim=1)
    place_R = (sum_RV <= uniform_R[:, None] * sum_RV[:, -1:]).sum(dim=1)
    last_R = (share_RV > 0).sum(dim=1) - 1  # rounding of the sum must not lead behind it
    return order_RV.gather(1, torch.minimum(place_R, last_R)[:, None])[:, 0]


def _lists(ids_BKL: Tensor, score_BK: Tensor) -> list[list[Written]]:
    rows = zip(ids_BKL.tolist(), score_BK.tolist(), strict=True)
    return [
        [Written(_before_end(ids), score) for ids, score in zip(*row, strict=True)] for row in rows
    ]


def _before_end(ids: list[int]) -> list[int]:
    return ids[: ids.index(END)] if END in ids else ids
