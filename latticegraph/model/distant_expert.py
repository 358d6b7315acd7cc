"""The distant expert: continuous-time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from latticegraph.aggregation import Neighbourhood, Sums
from latticegraph.model.channel_linear import ChannelLinear
from latticegraph.model.expert import Expert, Gradient, LinearMap

aten = torch.ops.aten


class DistantExpert(Expert):
    """State of an ordinary differential equation driven by far neighbours, by Euler sub-steps.

    Equation::

        dz/dt = W sigmoid(U z + P m + c) + m + b - z,    z(0) = x,    u = z(1) - x

    with a step of 1 / substeps.

    Source: continuous-time recurrent cells (Funahashi and Nakamura 1993).

    Args:
        channels: C, numbers per cell.
        heads: H, edge weights per edge; divides C.
        edge_hidden: hidden width of the edge-weight network.
        norm: normalise what each cell sends.
        gain: scale of the random part of the initial weights.
        bumps: localised features of the edge-weight network.
        substeps: Euler sub-steps, 1 or more.

    Shapes:
        those of :class:`Expert`.
    """

    def __init__(
        self,
        channels: int,
        heads: int = 1,
        edge_hidden: int = 16,
        norm: bool = False,
        gain: float = 1.0,
        bumps: int = 0,
        substeps: int = 2,
    ) -> None:
        super().__init__(channels, heads, edge_hidden, norm, gain, bumps)
        self.substeps = substeps

    def build(self) -> None:
        """Drive, recurrence, output and rest."""
        channels = self.channels
        self.drive = ChannelLinear(channels, channels)
        self.recur = ChannelLinear(channels, channels, bias=False)
        self.out = ChannelLinear(channels, channels, bias=False)
        self.rest = nn.Parameter(torch.empty(channels))
        self._start()

    def _start(self) -> None:
        for layer in (self.drive, self.recur, self.out):
            layer.reset_parameters(self.gain)
        with torch.no_grad():  # sigmoid(0) = 1/2: the cell at rest stays there
            self.rest.copy_(-0.5 * self.out.weight.sum(dim=1))

    def reset_parameters(self) -> None:
        """Draw new weights."""
        super().reset_parameters()
        self._start()

    def state_maps(self, neighbourhood: Neighbourhood, prepared: Sums) -> list[LinearMap]:
        """What cells send, and U x of the first sub-step."""
        return [*super().state_maps(neighbourhood, prepared), (self.recur.weight, None)]

    def propose(self, x_CM: Tensor, m_CM: Tensor, rows: Sequence[Tensor]) -> Tensor:
        """The proposal y from the state and the sum over neighbours."""
        drive_CM = self.drive(m_CM)
        pull_CM = m_CM + self.rest[:, None]
        z_CM, inner_CM = x_CM, rows[0] + drive_CM
        for substep in range(self.substeps):
            if substep:
                inner_CM = self.recur(z_CM, plus_KM=drive_CM)
            active_CM = torch.sigmoid(inner_CM)
            z_CM = torch.lerp(z_CM, self.out(active_CM, plus_KM=pull_CM), 1.0 / self.substeps)
        return z_CM

    def own_parameters(self) -> list[Tensor]:
        """P, c, U, W and b."""
        drive, recur, out = self.drive, self.recur, self.out
        assert drive.bias is not None  # made with one
        return [drive.weight, drive.bias, recur.weight, out.weight, self.rest]

    def run(
        self, x_CM: Tensor, m_CM: Tensor, rows: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """As :meth:`propose`; keeps sigmoid(...) and z of every sub-step."""
        part = 1.0 / self.substeps
        drive_CM = self.drive(m_CM)
        pull_CM = m_CM + self.rest[:, None]
        z_CM, inner_CM, kept = x_CM, rows[0].add_(drive_CM), []
        for substep in range(self.substeps):
            if substep:
                inner_CM = torch.addmm(drive_CM, self.recur.weight, z_CM)
            active_CM = inner_CM.sigmoid_()
            kept += [z_CM, active_CM]
            z_CM = torch.lerp(z_CM, pull_CM, part).addmm_(self.out.weight, active_CM, alpha=part)
        return z_CM, kept

    def back(self, grad_CM: Tensor, kept: list[Tensor], gradient: Gradient) -> list[Tensor]:
        """As in :class:`Expert`."""
        _, m_CM, *pairs = kept
        part = 1.0 / self.substeps
        first = gradient.rows[0]
        grad_out, grad_recur = (
            torch.zeros_like(self.out.weight),
            torch.zeros_like(self.recur.weight),
        )
        grad_z, grad_pull, grad_drive = grad_CM.clone(), torch.zeros_like(grad_CM), None
        for substep in reversed(range(self.substeps)):
            z_CM, active_CM = pairs[2 * substep : 2 * substep + 2]
            grad_pull.add_(grad_z, alpha=part)
            grad_out.addmm_(grad_z, active_CM.t(), alpha=part)
            inner = first if substep == 0 else torch.empty_like(first)
            torch.mm(self.out.weight.t(), grad_z, out=inner).mul_(part)
            aten.sigmoid_backward(inner, active_CM, grad_input=inner)
            grad_z.mul_(1.0 - part)
            if substep:
                grad_recur.addmm_(inner, z_CM.t())
                grad_z.addmm_(self.recur.weight.t(), inner)
                grad_drive = inner if grad_drive is None else grad_drive.add_(inner)
        gradient.x_CM.add_(grad_z)
        grad_drive = first if grad_drive is None else grad_drive.add_(first)
        torch.addmm(grad_pull, self.drive.weight.t(), grad_drive, out=gradient.m_CM)
        drive = (grad_drive @ m_CM.t(), grad_drive.sum(1))
        return [*drive, grad_recur, grad_out, grad_pull.sum(1)]
