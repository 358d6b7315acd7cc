"""Which expert a cell listens to.

Legend: C channels, X experts, N cells, B batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latticegraph.config.model import GatingSettings
from latticegraph.model.channel_linear import ChannelLinear


@dataclass(frozen=True)
class Gate:
    """Shares of the experts, and what their regularisers need.

    Attributes:
        share_XNB: softmax weights; they sum to 1 over X.
        z_B: squared log of the softmax denominator, averaged over cells (Zoph et al. 2022).
    """

    share_XNB: Tensor
    z_B: Tensor


def balance(usage_XN: Tensor) -> Tensor:
    """``X * sum_x mean(usage_x)^2 - 1``: 0 when all are used alike, X - 1 when only one is."""
    return usage_XN.shape[0] * usage_XN.mean(dim=1).square().sum() - 1.0


class GatingNetwork(nn.Module):
    """Softmax over experts for every cell and sample.

    Equation::

        g = softmax((G x + b) / temperature)        of the top_k largest only, where top_k is set

    Args:
        channels: C.
        experts: X.
        settings: temperature and top_k.
        gain: scale of the initial weights.

    Shapes:
        (C, N, B) -> share (X, N, B)
    """

    def __init__(
        self, channels: int, experts: int, settings: GatingSettings, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.settings = settings
        self.logits = ChannelLinear(channels, experts, 0.2 * gain)

    @torch.no_grad()
    def prefer(self, expert: int, margin: float) -> None:
        """Start with ``expert`` ahead of the others by ``margin`` before the temperature."""
        assert self.logits.bias is not None  # made with one
        self.logits.bias[expert] += margin

    def forward(self, x_CNB: Tensor) -> Gate:
        """Shares of the experts in every cell."""
        logits = self.logits(x_CNB) / self.settings.temperature
        experts = logits.shape[0]
        top_k = self.settings.top_k
        if top_k is not None and top_k < experts:
            kept = logits.topk(top_k, dim=0).indices
            mask = torch.full_like(logits, float("-inf")).scatter(0, kept, 0.0)
            share = torch.softmax(logits + mask, dim=0)
        else:
            share = torch.softmax(logits, dim=0)
        return Gate(share, torch.logsumexp(logits, dim=0).square().mean(dim=0))
