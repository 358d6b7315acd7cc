"""The gated mean of the proposals with its gradient written by hand.

Legend: C channels, M columns, X experts, B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from latticegraph.aggregation.layout import repeat_columns


class _Mix(torch.autograd.Function):
    """``new = sum over r of g_r y_r`` and its relative change per sample."""

    @staticmethod
    def forward(
        ctx: Any,
        shape: tuple[int, int],
        over_cells: Callable[[Tensor], Tensor],
        x_CM: Tensor,
        share_XM: Tensor,
        *proposals: Tensor,
    ) -> tuple[Tensor, Tensor]:
        first, *others = proposals
        new_CM = first * share_XM[0]
        for y_CM, share_M in zip(others, share_XM[1:], strict=True):
            new_CM.addcmul_(y_CM, share_M)
        axis = shape.index(-1)
        dims = (0, 2 - axis)
        norms = [
            torch.linalg.vector_norm(part_CM.unflatten(1, shape), dim=dims)
            for part_CM in (new_CM - x_CM, x_CM)
        ]
        moved_B, size_B = over_cells(torch.stack(norms).square()).sqrt()
        tiny = torch.finfo(x_CM.dtype).tiny
        size_B = size_B.clamp_min(tiny)
        ctx.shape, ctx.over_cells = shape, over_cells
        ctx.save_for_backward(x_CM, new_CM, share_XM, moved_B, size_B, *proposals)
        ctx.set_materialize_grads(False)
        return new_CM, moved_B / size_B

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        x_CM, new_CM, share_XM, moved_B, size_B, *proposals = ctx.saved_tensors
        grad_CM, grad_change_B = grads
        grad_x = None
        if grad_change_B is not None:
            grad_change_B = ctx.over_cells(grad_change_B)
            tiny = torch.finfo(x_CM.dtype).tiny
            # At a state that does not move the norm has the subgradient 0.
            along_B = torch.where(
                moved_B > 0, grad_change_B / (size_B * moved_B).clamp_min(tiny), 0
            )
            back_B = grad_change_B * (moved_B / size_B) / size_B / size_B
            values_2B, cells = torch.stack([along_B, back_B]), max(ctx.shape)
            along, back = repeat_columns(values_2B, cells, ctx.shape[0] == -1)
            moved_CM = torch.sub(new_CM, x_CM).mul_(along)
            grad_x = torch.mul(x_CM, back).add_(moved_CM).neg_()
            grad_CM = moved_CM if grad_CM is None else moved_CM.add_(grad_CM)
        if grad_CM is None:
            return (None,) * (4 + len(proposals))
        grad_share = torch.stack([(grad_CM * y_CM).sum(0) for y_CM in proposals])
        return None, None, grad_x, grad_share, *(grad_CM * share_M for share_M in share_XM)


def mix(
    x_CM: Tensor,
    share_XM: Tensor,
    proposals: Sequence[Tensor],
    shape: tuple[int, int],
    over_cells: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """The gated mean of the proposals, and its distance from x per sample over the norm of x.

    Args:
        x_CM: states.
        share_XM: gates.
        proposals: of the experts.
        shape: (N, -1) or (-1, N): how columns are cells and samples.
        over_cells: sum over the processes that hold parts of one lattice.
    """
    mixed: tuple[Tensor, Tensor] = _Mix.apply(shape, over_cells, x_CM, share_XM, *proposals)  # type: ignore[no-untyped-call]
    return mixed
