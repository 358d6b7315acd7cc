"""One update of all columns with its gradient written by hand.

The equations are those of the experts; this way keeps fewer states and calls fewer operators than
automatic differentiation does.

Legend: C channels, M columns, X experts, K rows of linear maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from latticegraph.aggregation import FastNeighbourhood, Neighbourhood
from latticegraph.model.expert import Expert, Gradient
from latticegraph.model.layout import repeat_columns

if TYPE_CHECKING:
    from latticegraph.model.lattice3d import Prepared


class _Plan:
    """Which rows belong to which expert, and how the tensors of a call are ordered."""

    def __init__(
        self,
        experts: Sequence[Expert],
        hoods: Sequence[Neighbourhood],
        prepared: Prepared,
        keep: bool,
    ) -> None:
        self.experts = experts
        self.hoods = hoods
        self.rows = prepared.rows
        self.keep = keep
        self.maps = [count for own in self.rows for count in own]
        self.lengths = [len(own) for own in prepared.sums]

    def split(self, rows_KM: Tensor) -> tuple[list[list[Tensor]], Tensor]:
        """The rows of every expert, one tensor per map, and those of the gates."""
        parts = list(rows_KM.split([*self.maps, rows_KM.shape[0] - sum(self.maps)]))
        gates = parts.pop()
        remaining = iter(parts)
        return [[next(remaining) for _ in own] for own in self.rows], gates

    def sums(self, tensors: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
        """The prepared sums of every expert, the first of the tensors of a call."""
        remaining = iter(tensors)
        return [tuple(next(remaining) for _ in range(length)) for length in self.lengths]


def is_whole(expert: Expert, rows: Sequence[Any]) -> bool:
    """Whether the mapped state is the whole proposal, as that of a cell without neighbours."""
    return expert.value is None and len(rows) == 1


class _Proposals(torch.autograd.Function):
    """All proposals y and the logits of the gates from the state."""

    @staticmethod
    def forward(
        ctx: Any, plan: _Plan, x_CM: Tensor, weight_KC: Tensor, bias_K: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        rows_KM = torch.addmm(bias_K[:, None], weight_KC, x_CM)
        parts, logits_XM = plan.split(rows_KM)
        outputs, kept = [], []
        sizes = []
        for expert, hood, rows, prepared in zip(
            plan.experts, plan.hoods, parts, plan.sums(tensors), strict=True
        ):
            if is_whole(expert, rows):
                outputs.append(rows[0])
                sizes.append(0)
                continue
            values_CM, rest = (x_CM, rows) if expert.value is None else (rows[0], rows[1:])
            assert isinstance(hood, FastNeighbourhood)  # scatter goes through autograd
            m_CM, spectra = hood.run(values_CM, prepared, plan.keep)
            y_CM, own = expert.run(x_CM, m_CM, rest)
            outputs.append(y_CM)
            kept += [spectra, m_CM, *own]
            sizes.append(2 + len(own))
        if plan.keep:
            ctx.save_for_backward(x_CM, weight_KC, *tensors[: sum(plan.lengths)], *kept)
            ctx.plan, ctx.sizes = plan, sizes
        return (*outputs, logits_XM)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        plan: _Plan = ctx.plan
        x_CM, weight_KC, *rest = ctx.saved_tensors
        kept = rest[sum(plan.lengths) :]
        grad_KM = x_CM.new_empty(weight_KC.shape[0], x_CM.shape[1])
        parts, grad_logits = plan.split(grad_KM)
        *grad_outputs, given_logits = grads
        grad_logits.copy_(given_logits)
        grad_x = torch.zeros_like(x_CM)
        grad_sums: list[Tensor | None] = []
        grad_parameters: list[Tensor] = []
        for expert, hood, rows, prepared, grad_CM, size in zip(
            plan.experts, plan.hoods, parts, plan.sums(rest), grad_outputs, ctx.sizes, strict=True
        ):
            if not size:
                rows[0].copy_(grad_CM)
                grad_sums += [None] * len(prepared)
                continue
            spectra, *own = kept[:size]
            kept = kept[size:]
            has_value = expert.value is not None
            gradient = Gradient(grad_x, torch.empty_like(x_CM), rows[1:] if has_value else rows)
            grad_parameters += expert.back(grad_CM, [x_CM, *own], gradient)
            assert isinstance(hood, FastNeighbourhood)  # as in the forward pass
            values_CM, weights = hood.back(gradient.m_CM, prepared, spectra)
            grad_sums += [weights, *[None] * (len(prepared) - 1)]
            if has_value:
                rows[0].copy_(values_CM)
            else:
                grad_x.add_(values_CM)
        grad_x.addmm_(weight_KC.t(), grad_KM)
        maps = (grad_KM @ x_CM.t(), grad_KM.sum(1))
        return None, grad_x, *maps, *grad_sums, *grad_parameters


def propose_all(
    experts: Sequence[Expert], hoods: Sequence[Neighbourhood], x_CM: Tensor, prepared: Prepared
) -> tuple[list[Tensor], Tensor]:
    """The proposal of every expert, and the logits of the gates.

    Args:
        experts: without normalisation.
        hoods: of the experts; each has a gradient of its own, or is taken in by a map of the state.
        x_CM: states.
        prepared: of this rollout.
    """
    plan = _Plan(experts, hoods, prepared, torch.is_grad_enabled())
    parameters = [
        parameter
        for expert, rows in zip(experts, prepared.rows, strict=True)
        if not is_whole(expert, rows)
        for parameter in expert.own_parameters()
    ]
    tensors = [tensor for own in prepared.sums for tensor in own]
    *proposals, logits_XM = _Proposals.apply(  # type: ignore[no-untyped-call]
        plan, x_CM, prepared.weight_KC, prepared.bias_K, *tensors, *parameters
    )
    return proposals, logits_XM


class _Mix(torch.autograd.Function):
    """``new = sum over r of g_r y_r`` and its relative change per sample."""

    @staticmethod
    def forward(
        ctx: Any,
        shape: tuple[int, int],
        over_slabs: Callable[[Tensor], Tensor],
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
        moved_B, size_B = over_slabs(torch.stack(norms).square()).sqrt()
        tiny = torch.finfo(x_CM.dtype).tiny
        size_B = size_B.clamp_min(tiny)
        ctx.shape, ctx.over_slabs = shape, over_slabs
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
            grad_change_B = ctx.over_slabs(grad_change_B)
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
    over_slabs: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """The gated mean of the proposals, and its distance from x per sample over the norm of x.

    Args:
        x_CM: states.
        share_XM: gates.
        proposals: of the experts.
        shape: (N, -1) or (-1, N): how columns are cells and samples.
        over_slabs: sum over the processes that hold parts of one lattice.
    """
    mixed: tuple[Tensor, Tensor] = _Mix.apply(shape, over_slabs, x_CM, share_XM, *proposals)  # type: ignore[no-untyped-call]
    return mixed
