"""What is timed: one sum over all neighbours by every backend of the package, and whole steps.

Legend: C channels, N cells, B batch, M = N B columns, O offsets, H heads, D teacher width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from latticegraph.aggregation import Backend, Cells, Layout, make_neighbourhood, resolve_backend
from latticegraph.config import Config, load_config
from latticegraph.lattice import EdgeType, LatticeGraph
from latticegraph.losses import build_objective
from latticegraph.model import Lattice3D, build_student

CONFIG = Path(__file__).parents[1] / "configs" / "8cube_near.yaml"
TEACHER = 384


@dataclass(frozen=True)
class Case:
    """One way to do one thing.

    Attributes:
        backend: its name.
        forward: timed without gradients.
        both: forward and backward, timed.
        results: what is compared, states as (C, N, B); None for a floor, which computes nothing.
        expected: what the results should be; None: those of the first case.
    """

    backend: str
    forward: Callable[[], object]
    both: Callable[[], object]
    results: Callable[[], list[Tensor]] | None = None
    expected: Callable[[], list[Tensor]] | None = None


@dataclass(frozen=True)
class Problem:
    """The same graph, states and weights for every way to sum.

    Attributes:
        graph: the lattice.
        x_CNB: states.
        upstream_CNB: gradient of the sums.
        weight_OH: weights of all offsets.
    """

    graph: LatticeGraph
    x_CNB: Tensor
    upstream_CNB: Tensor
    weight_OH: Tensor

    @classmethod
    def random(
        cls, graph: LatticeGraph, channels: int, heads: int, batch: int, device: torch.device
    ) -> Problem:
        """States of variance 1, and weights whose sum over neighbours keeps it."""
        torch.manual_seed(0)
        x_CNB = torch.randn(channels, graph.num_cells, batch)
        offsets = graph.offsets_O3.shape[0]
        weight_OH = torch.randn(offsets, heads) / offsets**0.5
        upstream_CNB = torch.randn_like(x_CNB)
        return cls(graph, x_CNB.to(device), upstream_CNB.to(device), weight_OH.to(device))

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.x_CNB.device


def own_aggregation(problem: Problem, backend: Backend) -> Case:
    """A backend of the package, from the weights of offsets to sums."""
    graph, heads = problem.graph, problem.weight_OH.shape[1]
    neighbourhood = make_neighbourhood(graph, list(EdgeType), heads, backend)
    neighbourhood.to(problem.device, torch.float32)
    layout = Layout(graph, Cells(graph), neighbourhood.samples_inner)
    layout.to(problem.device)
    x_CM = layout.columns(problem.x_CNB).contiguous().requires_grad_()
    upstream_CM = layout.columns(problem.upstream_CNB).contiguous()
    weight_OH = problem.weight_OH.clone().requires_grad_()

    def forward() -> Tensor:
        return neighbourhood.sum(x_CM, neighbourhood.prepare(weight_OH))

    def both() -> list[Tensor]:
        out_CM = forward()
        return [out_CM.detach(), *torch.autograd.grad(out_CM, [x_CM, weight_OH], upstream_CM)]

    def results() -> list[Tensor]:
        out_CM, grad_CM, grad_OH = both()
        return [layout.states(out_CM), layout.states(grad_CM), grad_OH]

    return Case(backend, forward, both, results)


def read_config(cube: int, *overrides: str) -> Config:
    """``configs/8cube_near.yaml`` for a cube of another side.

    Below a side of 8 the radius stays at 1.6 cells, or a type of edge would be empty.
    """
    fixed = (f"lattice.dimensions={cube},{cube},{cube}", "lattice.adaptive_radius_min=1.6")
    return load_config(CONFIG, [*fixed, *overrides])


def make_lattice(
    config: Config, graph: LatticeGraph, batch: int, device: torch.device
) -> Lattice3D:
    """The same parameters for every backend."""
    torch.manual_seed(0)
    backend = resolve_backend(config.model, graph, batch, device.type)
    return Lattice3D(config.model, graph, backend, device=device.type).to(device)


def step_case(lattice: Lattice3D, batch: int) -> Case:
    """One step of a rollout, with the edge weights that a rollout prepares once."""
    layout, place = lattice.layout, lattice.gating.logits.weight.device
    torch.manual_seed(1)
    shape = (lattice.settings.state_channels, lattice.cells.num_cells, batch)
    x_CNB, upstream_CNB = torch.randn(shape), torch.randn(shape)
    x_CM = layout.columns(x_CNB.to(place)).contiguous().requires_grad_()
    upstream_CM = layout.columns(upstream_CNB.to(place)).contiguous()
    wanted = [x_CM, *lattice.parameters()]

    def forward() -> Tensor:
        return lattice.take_steps(x_CM, lattice.weights(), None, 1)[0]

    def both() -> list[Tensor]:
        new_CM = forward()
        return [new_CM.detach(), *torch.autograd.grad(new_CM, wanted, upstream_CM)]

    def results() -> list[Tensor]:
        new_CM, grad_CM, *grads = both()
        return [layout.states(new_CM), layout.states(grad_CM), *grads]

    return Case(lattice.backend, forward, both, results)


def train_case(
    config: Config, graph: LatticeGraph, batch: int, device: torch.device, suffix: str = ""
) -> Case:
    """One update of a student: forward, loss, backward, clip, AdamW.

    The rate is 0, which costs the same and leaves every repeat the same work.
    """
    student = build_student(config.model, graph, TEACHER, device=device.type).to(device)
    torch.manual_seed(2)
    e_BD = torch.nn.functional.normalize(torch.randn(batch, TEACHER), dim=1).to(device)
    backend = student.dynamics.backend
    variance = float(e_BD.var(0).mean()) if batch > 1 else 1.0
    loss = build_objective(
        config.losses, config.model.gating, e_BD.mean(0), variance, graph, backend, student=student
    ).to(device)
    parameters = list(student.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=0.0, fused=True)

    def forward() -> Tensor:
        total: Tensor = loss(student(e_BD), e_BD)[0]
        return total

    def backward() -> None:
        optimizer.zero_grad()
        forward().backward()

    def both() -> None:
        backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.training.clip_norm)
        optimizer.step()

    def results() -> list[Tensor]:
        backward()
        grads = [p.grad.clone() for p in parameters if p.grad is not None]
        with torch.no_grad():
            return [student(e_BD).embedding_BD, *grads]

    return Case(backend + suffix, forward, both, results)
