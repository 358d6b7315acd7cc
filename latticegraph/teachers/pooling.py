"""From token states to one embedding. Shape suffixes: B texts, L tokens, D width."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Pooling = Literal["mean", "cls"]


def pool(states_BLD: Tensor, mask_BL: Tensor, pooling: Pooling, normalize: bool) -> Tensor:
    """One embedding per text.

    ``mean``: e = sum_l m_l h_l / sum_l m_l with the attention mask m; ``cls``: e = h_0.
    With ``normalize``: e / |e| (Reimers and Gurevych 2019, arXiv:1908.10084).

    Args:
        states_BLD: last hidden states, padding on the right.
        mask_BL: 1 for tokens, 0 for padding; at least one token a text.
        pooling: which states count.
        normalize: scale to unit length.

    Shapes:
        states [B, L, D], mask [B, L]; returns [B, D].
    """
    if pooling == "cls":
        pooled_BD = states_BLD[:, 0]
    else:
        weights_BL1 = mask_BL.unsqueeze(-1).to(states_BLD.dtype)
        pooled_BD = (states_BLD * weights_BL1).sum(dim=1) / weights_BL1.sum(dim=1)
    return torch.nn.functional.normalize(pooled_BD, dim=1) if normalize else pooled_BD
