"""A rollout of the cells that matter for the output face alone.

Legend: C channels, N cells, B batch, M columns, X experts, T steps, O offsets, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from latticegraph.aggregation import Aggregation, LightCone, MemoryPlan
from latticegraph.aggregation.aggregation import edge_sets
from latticegraph.config.model import ModelSettings
from latticegraph.dynamics.dynamics import Rollout
from latticegraph.dynamics.expert import Expert
from latticegraph.dynamics.gating import GatingNetwork
from latticegraph.dynamics.step import plain_step
from latticegraph.lattice import LatticeGraph

# Of the cell updates of the whole lattice; above it the larger matrices cost more than is saved.
LARGEST_SHARE = 0.7
# Entries of the matrix of one step and head; beyond it sparse sums over the whole lattice are used.
LARGEST_MATRIX = 2**19
# Cells beyond which the table of all pairs of cells is not made.
LARGEST_LATTICE = 1_500
# First states that are the same for all samples, apart from the input face.
SAME_FOR_ALL = ("zeros", "learned")


class LightCones:
    """The light cones of one lattice, made when a number of steps is first asked for.

    Args:
        settings: of the model.
        graph: the lattice.
        aggregation: edges of every expert.
    """

    def __init__(
        self, settings: ModelSettings, graph: LatticeGraph, aggregation: Aggregation
    ) -> None:
        self.settings, self.graph, self.aggregation = settings, graph, aggregation
        self._made: dict[int, LightCone | None] = {}
        self._device = torch.device("cpu")

    def fitting(self, steps: int, plan: MemoryPlan, batch: int) -> LightCone | None:
        """The light cone, where it gives what a rollout is asked for and saves time.

        Nothing may stop early, be recomputed, or be left out of the gradient.

        Args:
            steps: of the rollout.
            plan: how the whole lattice would fit into memory.
            batch: samples.
        """
        dynamics = self.settings.dynamics
        recomputed = torch.is_grad_enabled() and plan.checkpoint_steps > 0
        in_parts = batch > plan.samples or recomputed
        shortened = dynamics.tolerance > 0 or dynamics.backprop_steps is not None
        if in_parts or shortened or self.settings.kernel == "fused":
            return None
        return self.made(steps)

    def made(self, steps: int) -> LightCone | None:
        """The light cone of ``steps`` steps; None where it would save no time."""
        if steps not in self._made:
            self._made[steps] = self._make(steps)
        return self._made[steps]

    def _make(self, steps: int) -> LightCone | None:
        graph = self.graph
        if not self.aggregation.cells.is_whole or graph.num_cells > LARGEST_LATTICE:
            return None
        varying_N = torch.ones(graph.num_cells)
        if self.settings.mapper.volume_init in SAME_FOR_ALL:
            varying_N = torch.zeros(graph.num_cells).index_fill(0, graph.input_cells, 1.0)
        types = edge_sets(self.settings)
        cone = LightCone(graph, self.aggregation, types, steps, varying_N)
        if cone.share > LARGEST_SHARE or cone.largest > LARGEST_MATRIX:
            return None
        cone.to(self._device)
        return cone

    def to(self, device: torch.device) -> None:
        """Move index tensors to ``device`` (in place)."""
        self._device = device
        for cone in self._made.values():
            if cone is not None:
                cone.to(device)


def cone_rollout(
    x_CNB: Tensor,
    cone: LightCone,
    experts: Sequence[Expert],
    gating: GatingNetwork,
) -> Rollout:
    """All steps, each for the cells of the light cone.

    Args:
        x_CNB: first states; samples differ in the cells that ``cone`` was made for alone.
        cone: cells of every step.
        experts: of the lattice.
        gating: of the lattice.

    Returns:
        States of the output cells, and 0 in all others. Usage of the cells computed, averaged over
        steps and samples, and its mean in the cells left out; change and z of the cells computed.
    """
    batch = x_CNB.shape[2]
    with torch.autocast(x_CNB.device.type, enabled=False):  # sums need full precision
        weights = [
            blocks.prepare(expert.weights_of(blocks.whole))
            for expert, blocks in zip(experts, cone.blocks, strict=True)
        ]
    x_CM = cone.first.columns(x_CNB)
    usage_XN = x_CNB.new_zeros(len(experts), x_CNB.shape[1])
    changes, z = [], []
    for step in cone.steps:
        done = plain_step(x_CM, experts, gating, step, weights)
        x_CM = done.states_CM
        shares = step.per_sample(done.gate.share_XM).sum(2).to(usage_XN.dtype)
        usage_XN = usage_XN.index_add(1, step.after.varying_n, shares)
        changes.append(done.change_B.mean())
        z.append(step.after.split(done.gate.z_M[None])[0].mean())
    usage_XN = usage_XN / (cone.visits_N.clamp_min(1.0) * batch)
    mean_X1 = usage_XN.sum(1, keepdim=True) / cone.visited
    final, _ = cone.last.split(x_CM)
    return Rollout(
        states_CNB=torch.zeros_like(x_CNB).index_copy(1, cone.last.varying_n, final),
        usage_XN=torch.where(cone.visits_N > 0, usage_XN, mean_X1),
        change_T=torch.stack(changes),
        steps_B=torch.full((batch,), len(cone.steps), device=x_CNB.device),
        z=torch.stack(z).mean(),
    )
