"""The step as one autograd function with its gradient written by hand.

The equations are those of the plain step; this form keeps fewer states and calls fewer operators
than automatic differentiation does. All linear maps of the state are one matrix product.

Legend: C channels, M columns, X experts, K rows of linear maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from latticegraph.aggregation import (
    Aggregation,
    FastNeighbourhood,
    Neighbourhood,
    PreparedWeights,
    SelfNeighbourhood,
)
from latticegraph.dynamics.expert import Expert
from latticegraph.dynamics.gating import GatingNetwork
from latticegraph.dynamics.kernel import ExpertKernel, OutputBuffers
from latticegraph.dynamics.step import Step
from latticegraph.kernels.mix import mix


@dataclass(frozen=True)
class Prepared:
    """What all steps of a rollout share, computed once from the parameters.

    Attributes:
        weight_KC: linear maps of the state, those of every expert and then that of the gates.
        bias_K: their biases.
        rows: per expert, how many rows each of its maps has.
    """

    weight_KC: Tensor
    bias_K: Tensor
    rows: tuple[tuple[int, ...], ...]


class FusedKernels:
    """Runs the kernels of all experts; see :class:`latticegraph.dynamics.kernel.FusedStep`."""

    def prepare(
        self,
        experts: Sequence[Expert],
        kernels: Sequence[ExpertKernel[Any]],
        gating: GatingNetwork,
        aggregation: Aggregation,
        weights: Sequence[PreparedWeights],
    ) -> Prepared:
        """The linear maps of all experts and of the gates, stacked."""
        neighbourhoods = aggregation.neighbourhoods
        maps = [
            kernel.maps(expert, neighbourhood, own)
            for kernel, expert, neighbourhood, own in zip(
                kernels, experts, neighbourhoods, weights, strict=True
            )
        ]
        rows = tuple(tuple(weight.shape[0] for weight, _ in own) for own in maps)
        gates = (gating.logits.weight, gating.logits.bias)
        flat = (*(pair for own in maps for pair in own), gates)
        biases = [w.new_zeros(w.shape[0]) if b is None else b for w, b in flat]
        return Prepared(torch.cat([w for w, _ in flat]), torch.cat(biases), rows)

    def __call__(
        self,
        x_CM: Tensor,
        experts: Sequence[Expert],
        kernels: Sequence[ExpertKernel[Any]],
        gating: GatingNetwork,
        aggregation: Aggregation,
        weights: Sequence[PreparedWeights],
        prepared: Prepared,
        keep: bool = False,
    ) -> Step:
        """One step, as :func:`~latticegraph.dynamics.step.plain_step` without interventions."""
        call = _Call(experts, kernels, aggregation.neighbourhoods, prepared.rows, weights)
        parameters = [
            parameter
            for expert, kernel, neighbourhood in zip(
                experts, kernels, aggregation.neighbourhoods, strict=True
            )
            if not kernel.is_linear(expert, isinstance(neighbourhood, SelfNeighbourhood))
            for parameter in kernel.parameters(expert)
        ]
        tensors = [tensor for own in weights for tensor in own]
        *proposals, logits_XM = _Proposals.apply(  # type: ignore[no-untyped-call]
            call, x_CM, prepared.weight_KC, prepared.bias_K, *tensors, *parameters
        )
        gate = gating.shares(logits_XM)
        shape, cells = aggregation.layout.shape, aggregation.cells
        new_CM, change_B = mix(x_CM, gate.share_XM, proposals, shape, cells.sum)
        return Step(new_CM, change_B, gate, proposals if keep else ())


class _Call:
    """Which rows belong to which expert, and how the tensors of a call are ordered."""

    def __init__(
        self,
        experts: Sequence[Expert],
        kernels: Sequence[ExpertKernel[Any]],
        neighbourhoods: Sequence[Neighbourhood],
        rows: tuple[tuple[int, ...], ...],
        weights: Sequence[PreparedWeights],
    ) -> None:
        self.experts = experts
        self.kernels = kernels
        self.neighbourhoods = neighbourhoods
        self.rows = rows
        self.keep = torch.is_grad_enabled()
        self.maps = [count for own in rows for count in own]
        self.lengths = [len(own) for own in weights]

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


class _Proposals(torch.autograd.Function):
    """All proposals y and the logits of the gates from the state."""

    @staticmethod
    def forward(
        ctx: Any, call: _Call, x_CM: Tensor, weight_KC: Tensor, bias_K: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        rows_KM = torch.addmm(bias_K[:, None], weight_KC, x_CM)
        parts, logits_XM = call.split(rows_KM)
        outputs, kept = [], []
        sizes = []
        for expert, kernel, neighbourhood, rows, prepared in zip(
            call.experts, call.kernels, call.neighbourhoods, parts, call.sums(tensors), strict=True
        ):
            if kernel.is_linear(expert, isinstance(neighbourhood, SelfNeighbourhood)):
                outputs.append(rows[0])
                sizes.append(0)
                continue
            values_CM, rest = (x_CM, rows) if expert.value_map is None else (rows[0], rows[1:])
            assert isinstance(neighbourhood, FastNeighbourhood), "scatter has no kernel"
            m_CM, spectra = neighbourhood.run(values_CM, prepared, call.keep)
            y_CM, own = kernel.forward(expert, x_CM, m_CM, rest)
            outputs.append(y_CM)
            kept += [spectra, m_CM, *own]
            sizes.append(2 + len(own))
        if call.keep:
            ctx.save_for_backward(x_CM, weight_KC, *tensors[: sum(call.lengths)], *kept)
            ctx.call, ctx.sizes = call, sizes
        return (*outputs, logits_XM)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        call: _Call = ctx.call
        x_CM, weight_KC, *rest = ctx.saved_tensors
        kept = rest[sum(call.lengths) :]
        grad_KM = x_CM.new_empty(weight_KC.shape[0], x_CM.shape[1])
        parts, grad_logits = call.split(grad_KM)
        *grad_outputs, given_logits = grads
        grad_logits.copy_(given_logits)
        grad_x = torch.zeros_like(x_CM)
        grad_sums: list[Tensor | None] = []
        grad_parameters: list[Tensor] = []
        per_expert = (call.experts, call.kernels, call.neighbourhoods, parts, call.sums(rest))
        for expert, kernel, neighbourhood, rows, prepared, grad_CM, size in zip(
            *per_expert, grad_outputs, ctx.sizes, strict=True
        ):
            if not size:
                rows[0].copy_(grad_CM)
                grad_sums += [None] * len(prepared)
                continue
            spectra, *own = kept[:size]
            kept = kept[size:]
            has_value = expert.value_map is not None
            buffers = OutputBuffers(grad_x, torch.empty_like(x_CM), rows[1:] if has_value else rows)
            grad_parameters += kernel.backward(expert, grad_CM, [x_CM, *own], buffers)
            assert isinstance(neighbourhood, FastNeighbourhood), "as in the forward pass"
            values_CM, weights = neighbourhood.back(buffers.m_CM, prepared, spectra)
            grad_sums += [weights, *[None] * (len(prepared) - 1)]
            if has_value:
                rows[0].copy_(values_CM)
            else:
                grad_x.add_(values_CM)
        grad_x.addmm_(weight_KC.t(), grad_KM)
        maps = (grad_KM @ x_CM.t(), grad_KM.sum(1))
        return None, grad_x, *maps, *grad_sums, *grad_parameters
