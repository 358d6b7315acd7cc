"""Lattice3D: a mixture of message-passing experts, applied for a number of steps.

Legend: C channels, N cells, B batch, M = N B columns, X experts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch._functorch.config as functorch_config
from torch import Tensor, nn

from latticegraph.aggregation import (
    Aggregation,
    Backend,
    Cells,
    MemoryPlan,
    PreparedWeights,
    SelfNeighbourhood,
)
from latticegraph.aggregation.aggregation import edge_sets, has_own_edges
from latticegraph.aggregation.memory import plan_rollout, rollout_work
from latticegraph.config.model import ModelSettings
from latticegraph.dynamics.ablations import edited_aggregation
from latticegraph.dynamics.cone_rollout import LightCones, cone_rollout
from latticegraph.dynamics.dynamics import Dynamics, Rollout
from latticegraph.dynamics.expert import Expert
from latticegraph.dynamics.gating import Gate, GatingNetwork
from latticegraph.dynamics.interventions import (
    NO_EDITS,
    Edits,
    Intervention,
    check_interventions,
)
from latticegraph.dynamics.kernel import ExpertKernel, fused_step, kept_states, kernel_of
from latticegraph.dynamics.make_expert import check_cells, make_expert
from latticegraph.dynamics.recorder import Recorder
from latticegraph.dynamics.rollout import Loop, Statistics, Weights, in_chunks, statistics
from latticegraph.dynamics.step import Step, plain_step
from latticegraph.dynamics.transport import start_transport
from latticegraph.errors import ConfigError
from latticegraph.lattice import EdgeType, LatticeGraph


class Lattice3D(Dynamics):
    """The experts of ``model.experts``, their gates, and the graph they pass messages on.

    Equation::

        x_i <- x_i + sum over experts r of g_r(x_i) u_r(m_i^r, x_i)

    as in :func:`~latticegraph.dynamics.step.plain_step`.

    Args:
        settings: channels, experts, gating, dynamics, initialisation and memory budget.
        graph: the lattice whose typed edges the experts use.
        backend: how sums over neighbours are computed.
        cells: which cells this process holds; None: all.
        device: ``cpu`` or ``cuda``, for the compiler.

    Shapes:
        (C, N, B) -> Rollout

    Raises:
        ConfigError: an expert cannot be made, a kernel is demanded that does not exist, or slabs
            are to be compiled.
    """

    def __init__(
        self,
        settings: ModelSettings,
        graph: LatticeGraph,
        backend: Backend = "spmm",
        cells: Cells | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        self.settings = settings
        self.cells = Cells(graph) if cells is None else cells
        self.total_cells = graph.num_cells
        self.names = tuple(expert.name for expert in settings.experts)
        experts = [make_expert(settings, index, graph) for index in range(len(self.names))]
        check_cells(self.names, experts, self.cells)
        edges = edge_sets(settings)
        self.experts = nn.ModuleDict(dict(zip(self.names, experts, strict=True)))
        self.gating = GatingNetwork(
            settings.state_channels, len(experts), settings.gating, settings.init.gain
        )
        heads = [expert.heads for expert in experts]
        self.backend = backend
        by_edge = has_own_edges(settings)
        self.aggregation = Aggregation(graph, edges, heads, backend, self.cells, by_edge)
        self.layout = self.aggregation.layout
        # The cells that matter for the output face alone, by the number of steps.
        self.cones = LightCones(settings, graph, self.aggregation)
        self._compiled = self._compile(device) if settings.compile else None
        if settings.kernel == "fused" and (reason := self.why_plain()):
            raise ConfigError(
                "model.kernel",
                f"expected a kernel for every expert with 'fused', got none: {reason}",
                "Set model.kernel to auto",
            )
        if settings.init.init_method == "transport":
            start_transport(experts, edges, self.gating, graph, settings)

    def rollout(
        self,
        x_CNB: Tensor,
        steps: int | None = None,
        recorder: Recorder | None = None,
        interventions: Sequence[Intervention] = (),
        whole: bool = True,
    ) -> Rollout:
        """Apply the step until all samples converge or ``steps`` are done.

        Work that would exceed ``max_memory_gb`` is split into chunks of samples and recomputed in
        the backward pass; the result is the same.

        Args:
            x_CNB: first states.
            steps: maximum number of steps; None: the configured one.
            recorder: called after every step; changes nothing.
            interventions: changes of the dynamics.
            whole: as in :class:`Dynamics`; where it is False and saves time, each step computes
                the cells of :class:`LightCone` alone.
        """
        check_interventions(interventions, self.names)
        dynamics = self.settings.dynamics
        steps = dynamics.steps if steps is None else steps
        plan = self.plan(x_CNB.shape[2], steps, x_CNB.element_size())
        if not (whole or recorder or interventions or self._compiled):
            cone = self.cones.fitting(steps, plan, x_CNB.shape[2])
            if cone is not None:
                return cone_rollout(x_CNB, cone, self._experts(), self.gating)
        compiled = self._compiled is not None and torch.is_grad_enabled()
        loop = Loop(
            stepper=self,
            take_steps=self._compiled if compiled and self._compiled else self.take_steps,
            dynamics=dynamics,
            steps=steps,
            checkpoint_steps=plan.checkpoint_steps,
            weights=self.weights,
            recorder=recorder,
            interventions=interventions,
        )
        batch = x_CNB.shape[2]
        if batch <= plan.samples:
            rollout = loop.run(x_CNB, slice(0, batch), set())
        else:
            rollout = in_chunks(loop, x_CNB, plan.samples)
        if self.cells.is_whole:
            return rollout
        usage_XN = self.cells.gather(rollout.usage_XN, dim=1)
        return replace(rollout, usage_XN=usage_XN, z=self.cells.sum(rollout.z))

    def weights(self) -> Weights:
        """What all steps of a rollout share: edge weights, and the maps of the fused step."""
        sums = self._sums()
        compiled = self._compiled is not None and torch.is_grad_enabled()
        if compiled or torch.compiler.is_compiling():
            return Weights(sums)
        fused, kernels = fused_step(), self.kernels()
        if fused is None or not kernels:
            return Weights(sums)
        prepared = fused.prepare(self._experts(), kernels, self.gating, self.aggregation, sums)
        return Weights(sums, (fused, kernels, prepared))

    def _sums(self, silent: Collection[EdgeType] = ()) -> tuple[PreparedWeights, ...]:
        """Edge weights of all experts, prepared for their sums; 0 on ``silent`` edge types."""
        prepared = []
        for index, expert in enumerate(self._experts()):
            neighbourhood = self.aggregation.neighbourhoods[index]
            with torch.autocast(neighbourhood.edge_attr_O4.device.type, enabled=False):
                weight_OH = expert.weights_of(neighbourhood)
                if silent:
                    weight_OH = self.aggregation.keep_types(index, weight_OH, silent)
                prepared.append(neighbourhood.prepare(weight_OH))
        return tuple(prepared)

    def one_step(self, x_CM: Tensor, weights: Weights, edits: Edits, keep: bool) -> Step:
        """One step with interventions, by the plain step where there are any."""
        experts, gating, aggregation = self._experts(), self.gating, self.aggregation
        if edits.is_empty and weights.fused is not None:
            fused, kernels, prepared = weights.fused
            done: Step = fused(
                x_CM, experts, kernels, gating, aggregation, weights.sums, prepared, keep
            )
            return done
        sums = self._sums(edits.silent) if edits.silent else weights.sums
        if edits.changed:
            without = [(kind, self._sums({*edits.silent, kind})) for kind in edits.changed]
            aggregation = edited_aggregation(aggregation, without, edits)
        return plain_step(x_CM, experts, gating, aggregation, sums, edits, keep)

    def take_steps(
        self, x_CM: Tensor, weights: Weights, active_B: Tensor | None, count: int
    ) -> Statistics:
        """Several steps without interventions.

        Args:
            x_CM: states.
            weights: result of :meth:`weights`.
            active_B: samples that have not converged; None: all.
            count: number of steps.
        """
        experts, gating, aggregation = self._experts(), self.gating, self.aggregation
        usage, z, changes = [], [], []
        for _ in range(count):
            if weights.fused is None:
                done = plain_step(x_CM, experts, gating, aggregation, weights.sums)
            else:
                fused, kernels, prepared = weights.fused
                done = fused(x_CM, experts, kernels, gating, aggregation, weights.sums, prepared)
            x_CM, usage_XN, z_part, change_B = statistics(
                self.layout, x_CM, done, active_B, self.total_cells
            )
            usage.append(usage_XN)
            z.append(z_part)
            changes.append(change_B)
        return x_CM, torch.stack(usage).sum(0), torch.stack(z).sum(), torch.stack(changes)

    def kernels(self) -> list[ExpertKernel[Any]]:
        """The kernel of every expert; empty where the plain step is taken."""
        if self.why_plain():
            return []
        found = [kernel_of(expert) for expert in self._experts()]
        return [kernel for kernel in found if kernel is not None]

    def why_plain(self) -> str | None:
        """Why the plain step is taken; None where the fused one is."""
        if self.settings.kernel == "plain":
            return "model.kernel"
        if self.backend in ("scatter", "conv3d"):
            return f"{self.backend} has no kernel"
        if fused_step() is None:
            return "latticegraph.kernels is not imported"
        if torch.is_autocast_enabled(self.gating.logits.weight.device.type):
            return "reduced precision"
        if type(self.gating) is not GatingNetwork:
            return "the gating network was replaced"
        for name, expert in zip(self.names, self._experts(), strict=True):
            if kernel_of(expert) is None:
                return f"expert '{name}' has no kernel for its code"
        return None

    def step(self, x_CNB: Tensor) -> tuple[Tensor, Gate]:
        """One step of all cells and samples; columns of the gate follow the layout.

        Args:
            x_CNB: states.
        """
        done = self.one_step(self.layout.columns(x_CNB), self.weights(), NO_EDITS, keep=False)
        return self.layout.states(done.states_CM), done.gate

    def plan(self, batch: int, steps: int, bytes_per_number: int) -> MemoryPlan:
        """How a rollout fits into ``max_memory_gb``; with or without gradients, as they are now."""
        aggregation = self.aggregation
        self_only = [
            isinstance(neighbourhood, SelfNeighbourhood)
            for neighbourhood in aggregation.neighbourhoods
        ]
        kept = kept_states(self._experts(), self_only, plain=not self.kernels())
        work = rollout_work(
            self.settings,
            self.cells.num_cells,
            aggregation.stencils,
            self.backend,
            kept,
            batch,
            bytes_per_number,
        )
        work = replace(work, steps=steps, gradients=torch.is_grad_enabled())
        return plan_rollout(work, self.settings.max_memory_gb, self.checkpoint_steps)

    def components(self) -> dict[str, nn.Module]:
        """Parts whose gradient norms are logged, by name."""
        return super().components() | {"gating": self.gating}

    def _experts(self) -> list[Expert]:
        return [expert for expert in self.experts.values() if isinstance(expert, Expert)]

    def _compile(self, device: str) -> Callable[..., Statistics]:
        """Compiled steps; passes without gradients are short, and their last batch is smaller."""
        if not self.cells.is_whole:
            raise ConfigError(
                "model.compile",
                "expected false for run.parallel 'slabs', whose steps speak to other processes, "
                "got true",
                "Set it to false, or run.parallel to data",
            )
        # Buffers that a backward pass may overwrite allow one such pass only; the gradient of every
        # loss term by itself takes one for each.
        functorch_config.donated_buffer = False
        compiled: Callable[..., Statistics] = torch.compile(
            self.take_steps,
            fullgraph=True,
            dynamic=False,
            # Around small tensors, calls from C++ instead of Python save a twentieth.
            options={"guard_filter_fn": _guarded, "cpp_wrapper": device == "cpu"},
        )
        return compiled

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Lattice3D:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        weight = self.gating.logits.weight
        self.aggregation.to(weight.device, weight.dtype)
        self.cones.to(weight.device)
        return self


def _guarded(guards: Sequence[Any]) -> list[bool]:
    """Which assumptions of a compiled step are checked in every call.

    All but those about what a lattice holds besides tensors and hooks: it never changes.
    """
    kept = ("TENSOR_MATCH", "EMPTY_NN_MODULE_HOOKS_DICT")
    return [guard.guard_type in kept or not guard.name.startswith("self") for guard in guards]
