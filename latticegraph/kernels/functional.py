"""The kernel of the functional expert.

Legend: C channels, M columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import silu

from latticegraph.aggregation import Neighbourhood, PreparedWeights
from latticegraph.dynamics.functional_expert import FunctionalExpert
from latticegraph.dynamics.kernel import ExpertKernel, LinearMap, OutputBuffers, register_kernel

aten = torch.ops.aten


@register_kernel(FunctionalExpert, derived_from="a831f7f92c954f26")
class FunctionalKernel(ExpertKernel[FunctionalExpert]):
    """``x + z * (m + W h - x)`` with z and h overwriting their arguments."""

    def kept_states(self, expert: FunctionalExpert) -> int:
        """The messages, z, the argument of h, h and the target."""
        return 5

    def maps(
        self, expert: FunctionalExpert, neighbourhood: Neighbourhood, weights: PreparedWeights
    ) -> list[LinearMap]:
        """What cells send, and A x + c with D x + f below it."""
        own = (expert.from_state.weight, expert.from_state.bias)
        return [*super().maps(expert, neighbourhood, weights), own]

    def parameters(self, expert: FunctionalExpert) -> list[Tensor]:
        """B with E below it, and W."""
        return [expert.from_sum.weight, expert.candidate.weight]

    def forward(
        self, expert: FunctionalExpert, x_CM: Tensor, m_CM: Tensor, rows: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Keeps z, the argument of h, h and the target."""
        gate, hidden = rows[0].addmm_(expert.from_sum.weight, m_CM).chunk(2)
        gate.sigmoid_()
        active_CM = silu(hidden)
        target_CM = torch.addmm(m_CM, expert.candidate.weight, active_CM)
        return torch.lerp(x_CM, target_CM, gate), [gate, hidden, active_CM, target_CM]

    def backward(
        self, expert: FunctionalExpert, grad_CM: Tensor, kept: list[Tensor], buffers: OutputBuffers
    ) -> list[Tensor]:
        """As in :class:`ExpertKernel`."""
        x_CM, m_CM, gate, hidden, active_CM, target_CM = kept
        both = buffers.rows[0]
        grad_gate, grad_hidden = both.chunk(2)
        torch.sub(target_CM, x_CM, out=grad_gate).mul_(grad_CM)
        aten.sigmoid_backward(grad_gate, gate, grad_input=grad_gate)
        grad_target = grad_CM * gate
        buffers.x_CM.add_(grad_CM).sub_(grad_target)
        torch.mm(expert.candidate.weight.t(), grad_target, out=grad_hidden)
        aten.silu_backward(grad_hidden, hidden, grad_input=grad_hidden)
        grads = [both @ m_CM.t(), grad_target @ active_CM.t()]
        torch.addmm(grad_target, expert.from_sum.weight.t(), both, out=buffers.m_CM)
        return grads
