"""The step of the lattice: this equation is what trains.

Legend: C channels, M columns (cells and samples), X experts, B batch, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latticegraph.aggregation import Aggregation, ConeStep, PreparedWeights
from latticegraph.dynamics.expert import Expert
from latticegraph.dynamics.gating import Gate, GatingNetwork
from latticegraph.dynamics.interventions import NO_EDITS, Edits


@dataclass(frozen=True)
class Step:
    """What one step did.

    Attributes:
        states_CM: new states.
        change_B: norm of the change of the state over the norm of the state, per sample.
        gate: shares of the experts.
        proposals: x + u of every expert; empty where they were not asked for.
    """

    states_CM: Tensor
    change_B: Tensor
    gate: Gate
    proposals: Sequence[Tensor] = ()


def plain_step(
    x_CM: Tensor,
    experts: Sequence[Expert],
    gating: GatingNetwork,
    aggregation: Aggregation | ConeStep,
    weights: Sequence[PreparedWeights],
    edits: Edits = NO_EDITS,
    keep: bool = False,
) -> Step:
    """One step of all cells and samples.

    Equation::

        m_r = sum over neighbours j of w_r(e_ij) value_r(x_j)        for every expert r
        x <- x + sum over r of g_r(x) update_r(m_r, x)               g: softmax over the experts

    Args:
        x_CM: states.
        experts: the experts r.
        gating: makes g.
        aggregation: sums over the neighbours of every expert, in all cells or in those of one step
            of the light cone.
        weights: edge weights w of every expert, prepared for the aggregation.
        edits: interventions in this step.
        keep: return the proposals.
    """
    own_CM = aggregation.own(x_CM)
    gate = edits.gates(gating(own_CM))
    new_CM, proposals = own_CM, []
    for index, expert in enumerate(experts):
        values_CM = expert.value(x_CM).to(x_CM.dtype)
        with torch.autocast(x_CM.device.type, enabled=False):  # sums need full precision
            m_CM = aggregation.neighbourhoods[index].sum(values_CM, weights[index])
        maps = (aggregation.layout,) if expert.by_cell else ()
        u_CM = edits.update(index, expert.update(m_CM, own_CM, *maps)).to(x_CM.dtype)
        new_CM = torch.addcmul(new_CM, gate.share_XM[index], u_CM)
        if keep:
            proposals.append(own_CM + u_CM)
    new_CM = edits.states(new_CM)
    return Step(new_CM, relative_change(new_CM, own_CM, aggregation), gate, proposals)


def relative_change(new_CM: Tensor, x_CM: Tensor, aggregation: Aggregation | ConeStep) -> Tensor:
    """``|new - x| / |x|`` over all cells and channels of every sample, (B,).

    A state that does not move has change 0 and, as subgradient, 0.
    """
    layout = aggregation.layout
    dims = (0, 1 if layout.cell_axis == -2 else 2)
    norms = [
        torch.linalg.vector_norm(layout.per_sample(value_CM), dim=dims)
        for value_CM in (new_CM - x_CM, x_CM)
    ]
    tiny = torch.finfo(x_CM.dtype).tiny
    if aggregation.cells.is_whole:
        moved_B, size_B = norms
    else:
        squared_2B = aggregation.cells.sum(torch.stack(norms).square())
        root_2B = squared_2B.clamp_min(tiny).sqrt()  # the root has no gradient at 0
        moved_B, size_B = torch.where(squared_2B > tiny, root_2B, 0.0)
    change_B: Tensor = moved_B / size_B.clamp_min(tiny)
    return change_B
