"""A linear map of channels, the same for every cell and sample.

Legend: C channels in, K channels out, N cells, B batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class ChannelLinear(nn.Module):
    """``y[k] = sum_c W[k, c] x[c] + b[k]`` over a channels-first state.

    Args:
        inputs: C.
        outputs: K.
        gain: standard deviation of the initial weights is gain / sqrt(C); 0 starts at zero.
        bias: with b; without, another tensor can be added in the same product.

    Shapes:
        (C, N, B), optionally plus (K, N, B) -> (K, N, B)
    """

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None
        self.reset_parameters(gain)

    def reset_parameters(self, gain: float = 1.0) -> None:
        """Draw new weights; the bias starts at zero."""
        nn.init.normal_(self.weight, std=gain / math.sqrt(self.weight.shape[1]))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x_CNB: Tensor, plus_KNB: Tensor | None = None) -> Tensor:
        """Map the channels of every cell; add ``plus_KNB`` where given (layers without bias)."""
        channels, cells, batch = x_CNB.shape
        flat = x_CNB.reshape(channels, cells * batch)
        if plus_KNB is not None:
            y = torch.addmm(plus_KNB.reshape(-1, cells * batch), self.weight, flat)
        elif self.bias is not None:
            y = torch.addmm(self.bias[:, None], self.weight, flat)
        else:
            y = self.weight @ flat
        return y.view(-1, cells, batch).to(x_CNB.dtype)  # under autocast only the product is short
