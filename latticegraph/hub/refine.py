"""Better codes by gradient steps through the frozen decoder.

Legend: B batch, D teacher width, S surface width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latticegraph.errors import DataError
from latticegraph.model import Student

RATE = 0.05
"""Largest step of Adam, in units of a code's own root mean square."""


def refine_codes(student: Student, codes_BS: Tensor, source_BD: Tensor, steps: int) -> Tensor:
    r"""Move codes so that the decoder returns the embeddings that they were made from.

    .. math:: \min_{c} | \mathrm{decode}(c) - e |^2 \quad \text{from} \quad c_0 = \mathrm{encode}(e)

    The encoder is a fast guess of the best code; this closes the gap at the cost of ``steps``
    passes forward and backward, at encode time only. Each text uses its own embedding and the
    decoder, which stays as it is; the code stays S numbers. Adam with a cosine schedule moves the
    codes, and each text keeps the best code that it passed, so none gets worse. Source: Kim et al.,
    Semi-amortized variational autoencoders (2018).

    Args:
        student: trained to return the embedding that goes in.
        codes_BS: where to start.
        source_BD: embeddings that the codes are of.
        steps: of Adam; 0 returns the codes as they are.

    Shapes:
        codes_BS: [B, S]; source_BD: [B, D]; result: [B, S].

    Raises:
        DataError: ``steps`` is negative.
    """
    if steps < 0:
        raise DataError(
            "refine_steps", f"expected 0 or more steps, got {steps}", "Choose for example 20"
        )
    if steps == 0:
        return codes_BS
    start_BS = codes_BS.detach()
    # A step is a share of the code's own size: the same for one text alone and in any batch.
    size_B1 = start_BS.square().mean(1, keepdim=True).sqrt().clamp_min(1e-6)
    moved_BS = torch.zeros_like(start_BS, requires_grad=True)
    optimiser = torch.optim.Adam([moved_BS], lr=RATE)
    best_BS = start_BS.clone()
    least_B = start_BS.new_full((len(start_BS),), math.inf)
    for step in range(steps + 1):
        with torch.enable_grad():
            now_BS = start_BS + size_B1 * moved_BS
            error_B = (student.decode(now_BS).embedding_BD - source_BD).square().sum(1)
            total = error_B.sum()
        better_B = error_B.detach() < least_B
        least_B = torch.where(better_B, error_B.detach(), least_B)
        best_BS = torch.where(better_B[:, None], now_BS.detach(), best_BS)
        if step == steps:
            break
        # Of the codes alone: the parameters collect no gradient.
        (moved_BS.grad,) = torch.autograd.grad(total, [moved_BS])
        optimiser.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * step / steps)) / 2
        optimiser.step()
    return best_BS
