"""The functional expert: gated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import silu

from latticegraph.aggregation import Neighbourhood, Sums
from latticegraph.model.channel_linear import ChannelLinear
from latticegraph.model.expert import QUIET, Expert, Gradient, LinearMap

aten = torch.ops.aten
GATE_START = 2.0  # sigmoid(2) = 0.88: a cell begins by taking most of what its neighbours send


class FunctionalExpert(Expert):
    """Gated move of a cell's state towards a function of its neighbours.

    Equation::

        z = sigmoid(A x + B m + c)
        h = silu(D x + E m + f)
        u = z * (m + W h - x)

    Source: the gate of Cho et al. 2014 (GRU), with a candidate that starts close to m.
    Arguments and shapes are those of :class:`Expert`.
    """

    def build(self) -> None:
        """Gate, hidden layer and candidate."""
        channels = self.channels
        self.from_state = ChannelLinear(channels, 2 * channels)
        self.from_sum = ChannelLinear(channels, 2 * channels, bias=False)
        self.candidate = ChannelLinear(channels, channels, bias=False)
        self._start()

    def _start(self) -> None:
        channels = self.channels
        for layer in (self.from_state, self.from_sum):
            layer.reset_parameters(self.gain * 0.7)
            with torch.no_grad():
                layer.weight[:channels] *= 0.2
        with torch.no_grad():
            self.from_state.bias[:channels] = GATE_START  # type: ignore[index]
        self.candidate.reset_parameters(0.6 * self.gain)

    @torch.no_grad()
    def start_transport(
        self, edge_attr_O4: Tensor, wanted_O: Tensor, quiet: int, cell: float
    ) -> None:
        """As in :class:`Expert`; the candidate leaves the quiet channels nearly alone too."""
        super().start_transport(edge_attr_O4, wanted_O, quiet, cell)
        self.candidate.weight[:quiet] *= QUIET

    def reset_parameters(self) -> None:
        """Draw new weights."""
        super().reset_parameters()
        self._start()

    def state_maps(self, neighbourhood: Neighbourhood, prepared: Sums) -> list[LinearMap]:
        """What cells send, and A x + c with D x + f below it."""
        own = (self.from_state.weight, self.from_state.bias)
        return [*super().state_maps(neighbourhood, prepared), own]

    def propose(self, x_CM: Tensor, m_CM: Tensor, rows: Sequence[Tensor]) -> Tensor:
        """The proposal y from the state and the sum over neighbours."""
        gate, hidden = self.from_sum(m_CM, plus_KM=rows[0]).chunk(2)
        target: Tensor = self.candidate(silu(hidden), plus_KM=m_CM)
        return torch.lerp(x_CM, target, torch.sigmoid(gate))

    def own_parameters(self) -> list[Tensor]:
        """B with E below it, and W."""
        return [self.from_sum.weight, self.candidate.weight]

    def run(
        self, x_CM: Tensor, m_CM: Tensor, rows: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """As :meth:`propose`; keeps z, the argument of h, h and the target."""
        gate, hidden = rows[0].addmm_(self.from_sum.weight, m_CM).chunk(2)
        gate.sigmoid_()
        active_CM = silu(hidden)
        target_CM = torch.addmm(m_CM, self.candidate.weight, active_CM)
        return torch.lerp(x_CM, target_CM, gate), [gate, hidden, active_CM, target_CM]

    def back(self, grad_CM: Tensor, kept: list[Tensor], gradient: Gradient) -> list[Tensor]:
        """As in :class:`Expert`."""
        x_CM, m_CM, gate, hidden, active_CM, target_CM = kept
        both = gradient.rows[0]
        grad_gate, grad_hidden = both.chunk(2)
        torch.sub(target_CM, x_CM, out=grad_gate).mul_(grad_CM)
        aten.sigmoid_backward(grad_gate, gate, grad_input=grad_gate)
        grad_target = grad_CM * gate
        gradient.x_CM.add_(grad_CM).sub_(grad_target)
        torch.mm(self.candidate.weight.t(), grad_target, out=grad_hidden)
        aten.silu_backward(grad_hidden, hidden, grad_input=grad_hidden)
        grads = [both @ m_CM.t(), grad_target @ active_CM.t()]
        torch.addmm(grad_target, self.from_sum.weight.t(), both, out=gradient.m_CM)
        return grads
