"""Which expert a cell listens to.

Legend: C channels, X experts, M columns (cells and samples), N cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latticegraph.config.model import GatingSettings
from latticegraph.dynamics.channel_linear import ChannelLinear


@dataclass(frozen=True)
class Gate:
    """Shares of the experts, and what their regularisers need.

    Attributes:
        share_XM: softmax weights; they sum to 1 over X.
        z_M: squared log of the softmax denominator (Zoph et al. 2022); 0 where it has no weight.
    """

    share_XM: Tensor
    z_M: Tensor


def balance(usage_XN: Tensor) -> Tensor:
    """``X * sum_x mean(usage_x)^2 - 1``: 0 when all are used alike, X - 1 when only one is."""
    return usage_XN.shape[0] * usage_XN.mean(dim=1).square().sum() - 1.0


class GatingNetwork(nn.Module):
    """Softmax over experts for every cell and sample.

    Equation::

        g = softmax((G x + b) / temperature)        of the top_k largest only, where top_k is set

    The others have no share and no gradient. With a single one kept every share would be 1 and the
    gate would never learn, so top_k is at least 2.

    Args:
        channels: C.
        experts: X.
        settings: temperature and top_k.
        gain: scale of the initial weights.

    Shapes:
        (C, M) -> share (X, M)
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

    def forward(self, x_CM: Tensor) -> Gate:
        """Shares of the experts in every cell."""
        return self.shares(self.logits(x_CM))

    def shares(self, logits_XM: Tensor) -> Gate:
        """Shares from logits that are already computed."""
        logits = logits_XM / self.settings.temperature
        experts = logits.shape[0]
        top_k = self.settings.top_k
        if top_k is not None and top_k < experts:
            kept = logits.topk(top_k, dim=0).indices
            mask = torch.full_like(logits, float("-inf")).scatter(0, kept, 0.0)
            share = torch.softmax(logits + mask, dim=0)
        else:
            share = torch.softmax(logits, dim=0)
        if not self.settings.z_weight:
            return Gate(share, torch.zeros_like(logits[0]))
        return Gate(share, torch.logsumexp(logits, dim=0).square())
