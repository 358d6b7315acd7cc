"""Cosines of a batch with bounded gradients, and means over its pairs.

Legend: B batch, D teacher width.
"""

from __future__ import annotations

import torch
from torch import Tensor

RELATIVE_FLOOR = 0.05
"""A prediction shorter than this share of its target counts as this long."""


def directions(prediction_BD: Tensor, target_BD: Tensor) -> tuple[Tensor, Tensor]:
    r"""Unit vectors of targets, and of predictions with a floor under their length.

    .. math:: u_i = p_i / \max(|p_i|, 0.05 |t_i|), \qquad v_i = t_i / |t_i|

    The gradient of a plain cosine grows without bound as the prediction shrinks; the floor stops it
    at 20 / \|t\| and leaves ``u == v`` exact at ``p == t``. A zero target has the direction 0.

    Shapes:
        prediction_BD, target_BD: [B, D]; both results too.
    """
    smallest = torch.finfo(target_BD.dtype).tiny
    length_B1 = torch.linalg.vector_norm(target_BD, dim=1, keepdim=True)
    floor_B1 = (RELATIVE_FLOOR * length_B1).clamp_min(smallest)
    # vector_norm has subgradient 0 at 0, so a prediction equal to the centre stays finite.
    own_B1 = torch.linalg.vector_norm(prediction_BD, dim=1, keepdim=True)
    return prediction_BD / own_B1.maximum(floor_B1), target_BD / length_B1.clamp_min(smallest)


def rivals(teacher_BD: Tensor) -> Tensor:
    """Which targets of a batch are negatives of which sample: all but its own and its doubles.

    Args:
        teacher_BD: directions of the targets; a cosine above 1 - 1e-6 counts as the same target.

    Shapes:
        teacher_BD: [B, D]; result: [B, B], of bool.
    """
    other_BB = ~torch.eye(len(teacher_BD), dtype=torch.bool, device=teacher_BD.device)
    return other_BB & (torch.mm(teacher_BD, teacher_BD.T) < 1 - 1e-6)


def mean_over_pairs(value_BB: Tensor) -> Tensor:
    """Mean of the off-diagonal entries; 0 (with a gradient of 0) when the batch holds no pair."""
    batch = value_BB.shape[0]
    total = value_BB.sum() - value_BB.diagonal().sum()
    return total / max(batch * (batch - 1), 1)
