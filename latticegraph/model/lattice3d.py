"""Lattice3D: the dynamics of the cube.

Legend: C channels, N cells, B batch, X experts, T steps, E edges, H heads.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from latticegraph.aggregation import Neighbourhood
from latticegraph.config.model import ModelSettings
from latticegraph.lattice import EdgeType, LatticeGraph
from latticegraph.model.distant_expert import DistantExpert
from latticegraph.model.expert import Expert
from latticegraph.model.functional_expert import FunctionalExpert
from latticegraph.model.gating import Gate, GatingNetwork
from latticegraph.model.local_expert import LocalExpert
from latticegraph.model.rollout import Rollout, join_chunks
from latticegraph.model.transport import start_transport

# State-sized tensors kept per step for the backward pass: 26 measured, and room for gradients.
TENSORS_PER_STEP = 30


class Lattice3D(nn.Module):
    """A mixture of three message-passing experts, applied for a number of steps.

    Equation::

        x_i <- x_i + sum over experts r of g_r(x_i) u_r(x_i, m_i^r),    u_r = y_r - x_i

    which, the gates g summing to 1, is the gated mean of the experts' proposals y.

    Args:
        settings: channels, experts, gating, dynamics, initialisation and memory budget.
        graph: the lattice whose typed edges the experts use.

    Shapes:
        (C, N, B) -> Rollout
    """

    def __init__(self, settings: ModelSettings, graph: LatticeGraph) -> None:
        super().__init__()
        self.settings = settings
        self.num_cells = graph.num_cells
        self.checkpointing = False
        self.register_buffer("written", graph.written_cells.clone(), persistent=False)
        self.register_buffer("read", graph.read_cells.clone(), persistent=False)
        self.written: Tensor
        self.read: Tensor
        common = (
            settings.state_channels,
            settings.experts.heads,
            settings.experts.edge_hidden,
            settings.experts.norm,
            settings.init.gain,
        )
        experts: list[Expert] = [
            LocalExpert(*common),
            FunctionalExpert(*common),
            DistantExpert(*common, substeps=settings.experts.substeps),
        ]
        self.experts = nn.ModuleList(experts)
        self.gating = GatingNetwork(
            settings.state_channels, len(experts), settings.gating, settings.init.gain
        )
        self.neighbourhoods = [_neighbourhood(graph, kind, settings) for kind in EdgeType]
        if settings.init.init_method == "transport":
            steps, quiet = settings.dynamics.steps, settings.surface_channels
            start_transport(experts, self.gating, graph, steps, quiet)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Lattice3D:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for neighbourhood in self.neighbourhoods:
            neighbourhood.to(self.written.device)
            neighbourhood.edge_attr_O4 = neighbourhood.edge_attr_O4.to(self.gating.logits.weight)
        return self

    def edge_weights(self) -> list[Tensor]:
        """Edge weights (E, H) of every expert; constant during a rollout."""
        return [e.weights(n) for e, n in zip(self._experts(), self.neighbourhoods, strict=True)]

    def _experts(self) -> list[Expert]:
        return [expert for expert in self.experts if isinstance(expert, Expert)]

    def step(self, x_CNB: Tensor, weights: list[Tensor] | None = None) -> tuple[Tensor, Gate]:
        """One residual update of all cells and samples.

        Args:
            x_CNB: states.
            weights: result of :meth:`edge_weights`, computed here where None.
        """
        weights = self.edge_weights() if weights is None else weights
        gate: Gate = self.gating(x_CNB)
        parts = zip(self._experts(), self.neighbourhoods, weights, gate.share_XNB, strict=True)
        new_CNB = None
        for expert, neighbourhood, weight_EH, share_NB in parts:
            proposal_CNB = expert.proposal(x_CNB, neighbourhood, weight_EH)
            if new_CNB is None:
                new_CNB = proposal_CNB * share_NB
            else:
                new_CNB = torch.addcmul(new_CNB, proposal_CNB, share_NB)
        assert new_CNB is not None  # there are always three experts
        return new_CNB, gate

    def rollout(self, x_CNB: Tensor, steps: int | None = None, record: bool = False) -> Rollout:
        """Apply :meth:`step` until all samples converge or ``steps`` are done.

        Batches whose states would exceed ``max_memory_gb`` are split into chunks, recomputed in
        the backward pass; the result is the same.

        Args:
            x_CNB: first states.
            steps: maximum number of steps; None: the configured one.
            record: keep all states in ``trajectory_TCNB``; changes nothing else.
        """
        steps = self.settings.dynamics.steps if steps is None else steps
        if self.settings.dynamics.mode != "lattice":
            return self._control(x_CNB, record)
        per_chunk = self._samples_per_chunk(steps, x_CNB.element_size())
        if x_CNB.shape[2] <= per_chunk:
            return self._rollout(x_CNB, steps, record)
        chunks = []
        for part_CNB in x_CNB.split(per_chunk, dim=2):
            if torch.is_grad_enabled():
                fields = checkpoint(
                    lambda x: tuple(vars(self._rollout(x, steps, record)).values()),
                    part_CNB,
                    use_reentrant=False,
                )
                chunks.append(Rollout(*fields))
            else:
                chunks.append(self._rollout(part_CNB, steps, record))
        return join_chunks(chunks)

    def _samples_per_chunk(self, steps: int, bytes_per_number: int) -> int:
        kept = steps if torch.is_grad_enabled() and not self.checkpointing else 1
        state = self.settings.state_channels * self.num_cells * bytes_per_number
        budget = self.settings.max_memory_gb * 2**30
        return max(1, int(budget / (state * TENSORS_PER_STEP * kept)))

    def _rollout(self, x_CNB: Tensor, steps: int, record: bool) -> Rollout:
        dynamics = self.settings.dynamics
        weights = self.edge_weights()
        batch = x_CNB.shape[2]
        steps_B = torch.full((batch,), steps, device=x_CNB.device)
        calm_B = torch.zeros(batch, dtype=torch.int64, device=x_CNB.device)
        active_B = torch.ones(batch, dtype=torch.bool, device=x_CNB.device)
        trajectory = [x_CNB] if record else []
        usage_XN = x_CNB.new_zeros(len(self.experts), self.num_cells)
        z = x_CNB.new_zeros(())
        changes = []
        for t in range(1, steps + 1):
            if self.checkpointing and torch.is_grad_enabled():
                new_CNB, gate = checkpoint(self.step, x_CNB, weights, use_reentrant=False)
            else:
                new_CNB, gate = self.step(x_CNB, weights)
            if dynamics.tolerance > 0:
                new_CNB = torch.where(active_B, new_CNB, x_CNB)
            change_B = _relative_change(x_CNB, new_CNB)
            x_CNB = new_CNB
            counted_B = active_B.to(gate.share_XNB.dtype)
            usage_XN = usage_XN + (gate.share_XNB * counted_B).sum(-1)
            z = z + (gate.z_B * counted_B).sum()
            changes.append(change_B.mean())
            if record:
                trajectory.append(x_CNB)
            if dynamics.tolerance > 0:
                calm_B = torch.where(change_B <= dynamics.tolerance, calm_B + 1, 0)
                done_B = active_B & (calm_B >= dynamics.patience) & (t >= dynamics.min_steps)
                steps_B = torch.where(done_B, t, steps_B)
                active_B = active_B & ~done_B
                if not bool(active_B.any()):
                    break
        return Rollout(
            states_CNB=x_CNB,
            usage_XN=usage_XN / steps_B.sum(),
            change_T=torch.stack(changes),
            steps_B=steps_B,
            z=z / steps_B.sum(),
            trajectory_TCNB=torch.stack(trajectory) if record else None,
        )

    def _control(self, x_CNB: Tensor, record: bool) -> Rollout:
        """A rollout without lattice: identity, or written states copied to the read cells."""
        if self.settings.dynamics.mode == "wire":
            x_CNB = x_CNB.index_copy(1, self.read, x_CNB.index_select(1, self.written))
        return Rollout(
            states_CNB=x_CNB,
            usage_XN=x_CNB.new_full((len(self.experts), self.num_cells), 1 / len(self.experts)),
            change_T=x_CNB.new_zeros(1),
            steps_B=torch.zeros(x_CNB.shape[2], dtype=torch.int64, device=x_CNB.device),
            z=x_CNB.new_zeros(()),
            trajectory_TCNB=x_CNB[None] if record else None,
        )


def _neighbourhood(graph: LatticeGraph, kind: EdgeType, settings: ModelSettings) -> Neighbourhood:
    """Edges of one type, with the attribute rows of the offsets they use."""
    edges_E = graph.edges_of(kind)
    offsets = (graph.offset_type_O == int(kind)).nonzero().squeeze(1)
    position_O = torch.full((graph.offset_type_O.numel(),), -1)
    position_O[offsets] = torch.arange(offsets.numel())
    return Neighbourhood(
        graph.edge_index_2E[:, edges_E],
        graph.offset_attr_O4[offsets],
        graph.num_cells,
        settings.experts.heads,
        settings.aggregation,
        position_O[graph.edge_offset_E[edges_E]],
    )


def _relative_change(old_CNB: Tensor, new_CNB: Tensor) -> Tensor:
    """``|new - old| / |old|`` per sample."""
    difference_B = torch.linalg.vector_norm(new_CNB - old_CNB, dim=(0, 1))
    size_B = torch.linalg.vector_norm(old_CNB, dim=(0, 1))
    change_B: Tensor = difference_B / size_B.clamp_min(torch.finfo(old_CNB.dtype).tiny)
    return change_B
