"""A linear map of channels, the same for every cell and sample.

Legend: C channels in, K channels out, M columns (cells and samples).
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
        (C, M), optionally plus (K, M) -> (K, M)
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

    def forward(self, x_CM: Tensor, plus_KM: Tensor | None = None) -> Tensor:
        """Map the channels of every column; add ``plus_KM`` where given (layers without bias)."""
        if plus_KM is not None:
            y = torch.addmm(plus_KM, self.weight, x_CM)
        elif self.bias is not None:
            y = torch.addmm(self.bias[:, None], self.weight, x_CM)
        else:
            y = self.weight @ x_CM
        return y.to(x_CM.dtype)  # under autocast only the product is short
