"""Lattice3D: the dynamics of the cube.

Legend: C channels, N cells, B batch, M = N B columns, X experts, T steps, K rows of linear maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from latticegraph.aggregation import Sums
from latticegraph.config.model import ModelSettings
from latticegraph.distributed import all_gather, all_sum
from latticegraph.errors import ConfigError
from latticegraph.lattice import LatticeGraph
from latticegraph.model.distant_expert import DistantExpert
from latticegraph.model.expert import Expert, LinearMap, mapped
from latticegraph.model.functional_expert import FunctionalExpert
from latticegraph.model.fused_update import mix, propose_all
from latticegraph.model.gating import Gate, GatingNetwork
from latticegraph.model.layout import Layout
from latticegraph.model.local_expert import LocalExpert
from latticegraph.model.memory import MemoryPlan, plan_rollout, rollout_work
from latticegraph.model.neighbourhoods import make_neighbourhoods, resolve_backend, summed_stencils
from latticegraph.model.rollout import Rollout, roll_out
from latticegraph.model.transport import start_transport

Steps = tuple[Tensor, Tensor, Tensor, Tensor]
"""States, usage, z and relative change after some steps."""


@dataclass(frozen=True)
class Prepared:
    """What all steps of a rollout share, computed once from the parameters.

    Attributes:
        sums: per expert, its edge weights in the form its sums need.
        maps: linear maps of the state, those of every expert and then that of the gates.
        weight_KC: all of them stacked.
        bias_K: their biases.
        rows: per expert, how many rows each of its maps has.
    """

    sums: tuple[Sums, ...]
    maps: tuple[LinearMap, ...]
    weight_KC: Tensor
    bias_K: Tensor
    rows: tuple[tuple[int, ...], ...]


def _guarded(guards: Sequence[Any]) -> list[bool]:
    """Which assumptions of a compiled step are checked in every call.

    All but those about what a lattice holds besides tensors and hooks: it never changes.
    """
    kept = ("TENSOR_MATCH", "EMPTY_NN_MODULE_HOOKS_DICT")
    return [guard.guard_type in kept or not guard.name.startswith("self") for guard in guards]


class Lattice3D(nn.Module):
    """A mixture of three message-passing experts, applied for a number of steps.

    Equation::

        x_i <- x_i + sum over experts r of g_r(x_i) u_r(x_i, m_i^r),    u_r = y_r - x_i

    which, the gates g summing to 1, is the gated mean of the experts' proposals y.

    Args:
        settings: channels, experts, gating, dynamics, initialisation and memory budget.
        graph: the lattice whose typed edges the experts use.
        batch: samples that a rollout will usually have, for the choice of ``auto`` aggregation.
        device: ``cpu`` or ``cuda``, likewise.

    Attributes:
        backend: how sums over neighbours are computed; what ``auto`` has chosen.
        names: of the experts, in the order of the columns of ``usage``.
        checkpoint_steps: steps recomputed together in the backward pass in any case; 0: where
            ``max_memory_gb`` asks for it.

    Shapes:
        (C, N, B) -> Rollout

    Raises:
        ConfigError: slabs are neither compiled nor summed by another way than convolution.
    """

    names = ("local", "functional", "distant")

    def __init__(
        self, settings: ModelSettings, graph: LatticeGraph, batch: int = 64, device: str = "cpu"
    ) -> None:
        super().__init__()
        self.settings = settings
        self.slab = graph.slab
        self.total_cells = graph.num_cells
        self.num_cells = graph.num_cells if graph.slab is None else graph.slab.num_cells
        self.checkpoint_steps = 0
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
            settings.experts.bumps,
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
        self.backend = resolve_backend(settings, graph, batch, device)
        self.stencils = summed_stencils(graph)
        self.neighbourhoods = make_neighbourhoods(graph, settings.experts.heads, self.backend)
        # Passes without gradients are short already, and their last batch has another shape.
        self._compiled: Callable[..., Steps] | None = None
        if settings.compile and graph.slab is not None:
            raise ConfigError(
                "model.compile",
                "expected false for run.parallel 'slabs', whose steps speak to other processes, "
                "got true",
                "Set it to false, or run.parallel to data",
            )
        if settings.compile:
            self._compiled = torch.compile(
                self._take_steps,
                fullgraph=True,
                dynamic=False,
                # Around small tensors, calls from C++ instead of Python save a twentieth.
                options={"guard_filter_fn": _guarded, "cpp_wrapper": device == "cpu"},
            )
        self._by_hand = not settings.experts.norm and self.backend != "scatter"
        self.layout = Layout(graph, samples_inner=self.backend != "fft")
        if settings.init.init_method == "transport":
            steps, quiet = settings.dynamics.steps, settings.surface_channels
            start_transport(experts, self.gating, graph, steps, quiet)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Lattice3D:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        place = self.gating.logits.weight
        for neighbourhood in self.neighbourhoods:
            neighbourhood.to(place.device, place.dtype)
        self.layout.to(place.device)
        return self

    def prepare(self) -> Prepared:
        """Edge weights and stacked linear maps; constant during a rollout."""
        pairs = list(zip(self._experts(), self.neighbourhoods, strict=True))
        sums = tuple(expert.prepare(hood) for expert, hood in pairs)
        maps = [
            expert.state_maps(hood, prepared)
            for (expert, hood), prepared in zip(pairs, sums, strict=True)
        ]
        rows = tuple(tuple(weight.shape[0] for weight, _ in own) for own in maps)
        gates = (self.gating.logits.weight, self.gating.logits.bias)
        flat = (*(pair for own in maps for pair in own), gates)
        biases = [w.new_zeros(w.shape[0]) if b is None else b for w, b in flat]
        return Prepared(sums, flat, torch.cat([w for w, _ in flat]), torch.cat(biases), rows)

    def _experts(self) -> list[Expert]:
        return [expert for expert in self.experts if isinstance(expert, Expert)]

    def _propose(self, x_CM: Tensor, prepared: Prepared) -> tuple[list[Tensor], Tensor]:
        """The proposal of every expert, and the logits of the gates."""
        hoods = self.neighbourhoods
        short = torch.is_autocast_enabled(x_CM.device.type)
        if self._by_hand and not short and not torch.compiler.is_compiling():
            return propose_all(self._experts(), hoods, x_CM, prepared)
        *rows, logits_XM = self._map(x_CM, prepared)
        remaining = iter(rows)
        proposals = [
            expert.proposal(x_CM, hood, own, [next(remaining) for _ in counted])
            for expert, hood, own, counted in zip(
                self._experts(), hoods, prepared.sums, prepared.rows, strict=True
            )
        ]
        return proposals, logits_XM

    def _map(self, x_CM: Tensor, prepared: Prepared) -> Sequence[Tensor]:
        """The state under every linear map, that of the gates last."""
        if torch.compiler.is_compiling():  # it would copy the gradients of one product's parts
            return [mapped(weight, bias, x_CM).to(x_CM.dtype) for weight, bias in prepared.maps]
        rows_KM = mapped(prepared.weight_KC, prepared.bias_K, x_CM).to(x_CM.dtype)
        parts: Sequence[Tensor] = rows_KM.split([weight.shape[0] for weight, _ in prepared.maps])
        return parts

    def take_steps(
        self, x_CM: Tensor, prepared: Prepared, active_B: Tensor | None, count: int
    ) -> Steps:
        """Steps of a rollout, compiled where ``compile`` asks for it and gradients are wanted.

        Args:
            x_CM: states.
            prepared: result of :meth:`prepare`.
            active_B: samples that still move; None: all.
            count: number of steps.

        Returns:
            New states; usage (X, N) and z, summed over steps; relative change (count, B).
        """
        if self._compiled is not None and torch.is_grad_enabled():
            return self._compiled(x_CM, prepared, active_B, count)
        return self._take_steps(x_CM, prepared, active_B, count)

    def _take_steps(
        self, x_CM: Tensor, prepared: Prepared, active_B: Tensor | None, count: int
    ) -> Steps:
        usage, z, changes = [], [], []
        for _ in range(count):
            x_CM, usage_XN, z_part, change_B = self.advance(x_CM, prepared, active_B)
            usage.append(usage_XN)
            z.append(z_part)
            changes.append(change_B)
        return x_CM, torch.stack(usage).sum(0), torch.stack(z).sum(), torch.stack(changes)

    def advance(
        self, x_CM: Tensor, prepared: Prepared, active_B: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One step of a rollout and its statistics.

        Args:
            x_CM: states.
            prepared: result of :meth:`prepare`.
            active_B: samples that still move; None: all.

        Returns:
            New states; usage (X, N) and z, summed over moving samples; relative change (B,).
        """
        new_CM, change_B, gate = self._update(x_CM, prepared)
        layout = self.layout
        z_B = layout.per_sample(gate.z_M).sum(layout.cell_axis) / self.total_cells
        if active_B is None:
            return new_CM, layout.over_samples(gate.share_XM, None), z_B.sum(), change_B
        counted_B = active_B.to(x_CM.dtype)
        old, new = layout.per_sample(x_CM), layout.per_sample(new_CM)
        new_CM = torch.where(layout.spread(active_B), new, old).flatten(1)
        usage_XN = layout.over_samples(gate.share_XM, counted_B)
        return new_CM, usage_XN, (z_B * counted_B).sum(), torch.where(active_B, change_B, 0.0)

    def step(self, x_CNB: Tensor) -> tuple[Tensor, Gate]:
        """One residual update of all cells and samples; columns of the gate follow :attr:`layout`.

        Args:
            x_CNB: states.
        """
        new_CM, _, gate = self._update(self.layout.columns(x_CNB), self.prepare())
        return self.layout.states(new_CM), gate

    def _update(self, x_CM: Tensor, prepared: Prepared) -> tuple[Tensor, Tensor, Gate]:
        """New states, their relative change per sample, and the gates."""
        proposals, logits_XM = self._propose(x_CM, prepared)
        gate = self.gating.shares(logits_XM)
        mixed = mix(x_CM, gate.share_XM, proposals, self.layout.shape, self._over_slabs)
        return *mixed, gate

    def _over_slabs(self, value: Tensor) -> Tensor:
        """The sum over all processes that hold a part of the lattice."""
        return value if self.slab is None else all_sum(value, self.slab.processes)

    def whole(self, rollout: Rollout) -> Rollout:
        """A rollout whose statistics are those of the whole lattice; states stay those held here.

        Args:
            rollout: of the cells held here.
        """
        if self.slab is None:
            return rollout
        usage_XN = all_gather(rollout.usage_XN, self.slab.processes, dim=1, sizes=self.slab.sizes())
        return replace(rollout, usage_XN=usage_XN, z=self._over_slabs(rollout.z))

    def rollout(self, x_CNB: Tensor, steps: int | None = None, record: bool = False) -> Rollout:
        """Apply :meth:`step` until all samples converge or ``steps`` are done.

        Work that would exceed ``max_memory_gb`` is split into chunks of samples and recomputed in
        the backward pass; the result is the same.

        Args:
            x_CNB: first states.
            steps: maximum number of steps; None: the configured one.
            record: keep all states in ``trajectory_TCNB``; changes nothing else.
        """
        steps = self.settings.dynamics.steps if steps is None else steps
        if self.settings.dynamics.mode != "lattice":
            return self._control(x_CNB, record)
        return self.whole(roll_out(self, x_CNB, steps, record))

    def plan(self, batch: int, steps: int, bytes_per_number: int) -> MemoryPlan:
        """How a rollout fits into ``max_memory_gb``; with or without gradients, as they are now."""
        settings = self.settings
        work = rollout_work(
            settings, self.num_cells, self.stencils, self.backend, batch, bytes_per_number
        )
        work = replace(work, steps=steps, gradients=torch.is_grad_enabled())
        return plan_rollout(work, settings.max_memory_gb, self.checkpoint_steps)

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
