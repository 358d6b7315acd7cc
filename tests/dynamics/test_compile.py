"""One step under torch.compile without a graph break equals the step as it is."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

from latticegraph.config import ModelSettings
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Lattice3D
from tests.model.conftest import assert_same, excite, small_lattice, small_model

# The sums are operators of their own for the compiler; what it builds around them is not tested
# here, so the one that needs no C++ compiler will do.
COMPILER = "aot_eager"
ALL = {"steps": 2, "min_steps": 2}
STOPS = {"steps": 8, "min_steps": 2, "tolerance": 0.5, "patience": 1}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["spmm", "fft"])
@pytest.mark.parametrize("crowded", [False, True], ids=["own neighbour", "local neighbours"])
@pytest.mark.parametrize("messages", [{"edge_hidden": 4}, {"weights": "table", "bounded": False}])
def test_compiled_step_equals_eager_with_gradients(
    backend: str, crowded: bool, messages: dict[str, Any]
) -> None:
    near: dict[str, Any] = {"local_distance_ratio": 0.5, "adaptive_radius_min": 2.3}
    graph = LatticeGraph.build(small_lattice(dimensions=(3, 4, 5), **(near if crowded else {})))
    settings = ModelSettings.model_validate(
        {
            "state_channels": 4,
            "messages": {"heads": 2, **messages},
            "gating": {"z_weight": 0.1},
            "aggregation": backend,
        }
    )
    lattice = Lattice3D(settings, graph, backend).double()
    excite(lattice)
    x = torch.randn(4, 60, 3, dtype=torch.float64)

    def step(x_CNB: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        new_CNB, gate = lattice.step(x_CNB)
        return new_CNB, gate.share_XM, gate.z_M

    torch.compiler.reset()
    results = []
    for function in (step, torch.compile(step, fullgraph=True, backend=COMPILER)):
        lattice.zero_grad()
        start = x.clone().requires_grad_()
        new, share, z = function(start)
        (new.square().sum() + share[0].sum() + z.sum()).backward()
        results.append([new, share, z, start.grad, *[p.grad for p in lattice.parameters()]])
    for eager, compiled in zip(*results, strict=True):
        assert_same(compiled, eager, within=1e-11)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize(("backend", "dynamics"), [("spmm", STOPS), ("fft", STOPS), ("spmm", ALL)])
def test_rollout_of_compiled_steps_equals_eager_with_gradients(
    backend: str, dynamics: dict[str, Any]
) -> None:
    """The setting ``compile``: samples that stop on their own, and all steps in one graph."""
    graph = LatticeGraph.build(small_lattice(dimensions=(3, 4, 5)))
    results = []
    for compiled in (False, True):
        model = small_model(
            aggregation=backend,
            compile=compiled,
            dynamics=dynamics,
        )
        torch.manual_seed(7)
        lattice = Lattice3D(model, graph, backend).double()
        excite(lattice)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(4, 60, 3, dtype=torch.float64, generator=generator)
        x = (x * torch.tensor([0.03, 1.0, 10.0])).requires_grad_()
        rollout = lattice.rollout(x)
        assert len(set(rollout.steps_B.tolist())) == (1 if dynamics == ALL else 2)
        usage = rollout.usage_XN.square().sum()
        (rollout.states_CNB.square().mean() + rollout.change_T.sum() + usage).backward()
        fields = [rollout.states_CNB, rollout.usage_XN, rollout.change_T, x.grad]
        results.append([*fields, *[p.grad for p in lattice.parameters()]])
    for eager, fast in zip(*results, strict=True):
        assert_same(fast, eager, within=1e-11)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_steps_follow_batch_precision_and_frozen_parameters() -> None:
    """What the graph was compiled for is checked in every call, of what can change."""
    graph = LatticeGraph.build(small_lattice(dimensions=(3, 4, 5)))
    torch.manual_seed(7)
    plain, compiled = (
        Lattice3D(small_model(compile=setting, dynamics=ALL), graph) for setting in (False, True)
    )
    excite(plain)
    compiled.load_state_dict(plain.state_dict())
    candidate = "experts.functional.candidate.weight"
    for batch, kind, frozen in [
        (2, torch.float32, True),
        (2, torch.float32, False),
        (3, torch.float64, False),
    ]:
        results = []
        for lattice in (plain.to(kind), compiled.to(kind)):
            lattice.zero_grad()
            lattice.get_parameter(candidate).requires_grad_(not frozen)
            x = torch.linspace(-1, 1, 240 * batch, dtype=kind).sin().view(4, 60, batch)
            states = lattice.rollout(x).states_CNB
            states.square().mean().backward()
            gradients = {name: p.grad for name, p in lattice.named_parameters()}
            assert (gradients.pop(candidate) is None) == frozen
            results.append([states, *gradients.values()])
        for one, other in zip(*results, strict=True):
            assert_same(other, one, within=1e-4 if kind == torch.float32 else 1e-11)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_steps_allow_several_backward_passes() -> None:
    """As the gradient of every loss term by itself needs them."""
    graph = LatticeGraph.build(small_lattice(dimensions=(3, 4, 5)))
    lattice = Lattice3D(small_model(compile=True, dynamics=ALL), graph).double()
    excite(lattice)
    x = torch.linspace(-1, 1, 720, dtype=torch.float64).sin().view(4, 60, 3)
    loss = lattice.rollout(x).states_CNB.square().mean()
    parameters = list(lattice.parameters())
    first, second = (
        torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        for _ in range(2)
    )
    for one, other in zip(first, second, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other)
