"""The kernel of the distant expert.

Legend: C channels, M columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from latticegraph.aggregation import Neighbourhood, PreparedWeights
from latticegraph.dynamics.distant_expert import DistantExpert
from latticegraph.dynamics.kernel import ExpertKernel, LinearMap, OutputBuffers, register_kernel

aten = torch.ops.aten


@register_kernel(DistantExpert, derived_from="5125c03a70c96338")
class DistantKernel(ExpertKernel[DistantExpert]):
    """The Euler sub-steps, each with one product that adds in place."""

    def kept_states(self, expert: DistantExpert) -> int:
        """The messages, and sigmoid(...) and z of every sub-step; the first z is x."""
        return 2 * expert.substeps

    def maps(
        self, expert: DistantExpert, neighbourhood: Neighbourhood, weights: PreparedWeights
    ) -> list[LinearMap]:
        """What cells send, and U x of the first sub-step."""
        return [*super().maps(expert, neighbourhood, weights), (expert.recur.weight, None)]

    def parameters(self, expert: DistantExpert) -> list[Tensor]:
        """P, c, U, W and b."""
        drive = expert.drive
        assert drive.bias is not None, "made with one"
        return [drive.weight, drive.bias, expert.recur.weight, expert.out.weight, expert.rest]

    def forward(
        self, expert: DistantExpert, x_CM: Tensor, m_CM: Tensor, rows: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Keeps sigmoid(...) and z of every sub-step."""
        part = 1.0 / expert.substeps
        drive_CM = expert.drive(m_CM)
        pull_CM = m_CM + expert.rest[:, None]
        z_CM, inner_CM, kept = x_CM, rows[0].add_(drive_CM), []
        for substep in range(expert.substeps):
            if substep:
                inner_CM = torch.addmm(drive_CM, expert.recur.weight, z_CM)
            active_CM = inner_CM.sigmoid_()
            kept += [z_CM, active_CM]
            z_CM = torch.lerp(z_CM, pull_CM, part)
            z_CM.addmm_(expert.out.weight, active_CM, alpha=part)
        return z_CM, kept

    def backward(
        self, expert: DistantExpert, grad_CM: Tensor, kept: list[Tensor], buffers: OutputBuffers
    ) -> list[Tensor]:
        """As in :class:`ExpertKernel`."""
        _, m_CM, *pairs = kept
        part = 1.0 / expert.substeps
        first = buffers.rows[0]
        out, recur = expert.out.weight, expert.recur.weight
        grad_out, grad_recur = torch.zeros_like(out), torch.zeros_like(recur)
        grad_z, grad_pull, grad_drive = grad_CM.clone(), torch.zeros_like(grad_CM), None
        for substep in reversed(range(expert.substeps)):
            z_CM, active_CM = pairs[2 * substep : 2 * substep + 2]
            grad_pull.add_(grad_z, alpha=part)
            grad_out.addmm_(grad_z, active_CM.t(), alpha=part)
            inner = first if substep == 0 else torch.empty_like(first)
            torch.mm(out.t(), grad_z, out=inner).mul_(part)
            aten.sigmoid_backward(inner, active_CM, grad_input=inner)
            grad_z.mul_(1.0 - part)
            if substep:
                grad_recur.addmm_(inner, z_CM.t())
                grad_z.addmm_(recur.t(), inner)
                grad_drive = inner if grad_drive is None else grad_drive.add_(inner)
        buffers.x_CM.add_(grad_z)
        grad_drive = first if grad_drive is None else grad_drive.add_(first)
        torch.addmm(grad_pull, expert.drive.weight.t(), grad_drive, out=buffers.m_CM)
        drive = (grad_drive @ m_CM.t(), grad_drive.sum(1))
        return [*drive, grad_recur, grad_out, grad_pull.sum(1)]
