"""The step with a gradient by hand equals the step that autograd differentiates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latticegraph.config import ModelSettings
from latticegraph.kernels import FusedKernels
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Lattice3D, Rollout
from tests.model.conftest import assert_same, excite, experts, small_lattice

# Every type has real neighbours, the local one too.
CROWDED = {
    "dimensions": (4, 5, 6),
    "local_distance_ratio": 0.5,
    "adaptive_radius_min": 2.3,
}
PLAIN = {"dimensions": (4, 5, 6)}  # a cell is its own and only local neighbour

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "own neighbour": (PLAIN, {}),
    "local neighbours": (CROWDED, {}),
    "one head": (CROWDED, {"messages": {"heads": 1, "edge_hidden": 4}}),
    "a head per channel": (CROWDED, {"messages": {"heads": 4, "edge_hidden": 4}}),
    "one substep": (CROWDED, {"experts": experts(substeps=1)}),
    "three substeps": (PLAIN, {"experts": experts(substeps=3)}),
    "two experts on one type": (
        CROWDED,
        {"experts": [*experts(), {"name": "again", "kind": "distant", "edges": ["functional"]}]},
    ),
    "one expert on two types": (
        CROWDED,
        {"experts": [{"name": "one", "kind": "functional", "edges": ["local", "distant"]}]},
    ),
    "top 2, sharp": (CROWDED, {"gating": {"top_k": 2, "temperature": 0.4}}),
    "soft, z": (PLAIN, {"gating": {"temperature": 2.0, "z_weight": 0.1}}),
    "periodic, morton": ({**CROWDED, "boundary": "periodic", "numbering": "morton"}, {}),
    "early stop": (
        CROWDED,
        {
            "gating": {"z_weight": 0.1},
            "dynamics": {"steps": 12, "min_steps": 2, "tolerance": 0.2, "patience": 1},
        },
    ),
    "chunks": (PLAIN, {"gating": {"z_weight": 0.1}, "max_memory_gb": 0.02}),
}


def make(backend: str, lattice: dict[str, Any], model: dict[str, Any]) -> Lattice3D:
    settings = ModelSettings.model_validate(
        {
            "state_channels": 4,
            "messages": {"heads": 2, "edge_hidden": 4},
            "dynamics": {"steps": 3, "min_steps": 3},
            "aggregation": backend,
            **model,
        }
    )
    torch.manual_seed(7)
    graph = LatticeGraph.build(small_lattice(**lattice))
    made = Lattice3D(settings, graph, backend).double()
    excite(made)
    return made


def objective(rollout: Rollout) -> Tensor:
    """A number that depends on all that a rollout returns."""
    generator = torch.Generator().manual_seed(9)

    def weighed(value: Tensor) -> Tensor:
        weight = torch.randn(value.shape, generator=generator, dtype=value.dtype)
        return (weight * value).sum()

    steps = rollout.change_T * torch.arange(1.0, len(rollout.change_T) + 1)
    return weighed(rollout.states_CNB) + 5 * weighed(rollout.usage_XN) + steps.sum() + rollout.z


@pytest.fixture
def by_hand_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every fused step."""
    calls: list[int] = []
    original = FusedKernels.__call__

    def count(*arguments: Any) -> Any:
        calls.append(1)
        return original(*arguments)

    monkeypatch.setattr(FusedKernels, "__call__", count)
    return calls


@pytest.mark.parametrize("backend", ["spmm", "fft"])
@pytest.mark.parametrize("name", CASES)
def test_fused_rollout_equals_the_plain_one(
    name: str, backend: str, by_hand_calls: list[int]
) -> None:
    results = []
    for by_hand in (True, False):
        where, model = CASES[name]
        lattice = make(backend, where, {**model, "kernel": "fused" if by_hand else "plain"})
        by_hand_calls.clear()
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(4, 120, 4, dtype=torch.float64, generator=generator)
        x = (x * torch.tensor([0.03, 0.3, 1.0, 10.0])).requires_grad_()
        rollout = lattice.rollout(x)
        assert bool(by_hand_calls) == by_hand
        objective(rollout).backward()
        if name == "early stop":
            assert len(set(rollout.steps_B.tolist())) > 1
        if name in {"early stop", "soft, z", "chunks"}:
            assert float(rollout.z.detach()) > 0
        fields = [rollout.states_CNB, rollout.usage_XN, rollout.change_T, rollout.z]
        results.append([*fields, x.grad, *[p.grad for p in lattice.parameters()]])
        assert all(p.grad is not None for p in lattice.parameters())
    for fused, plain in zip(*results, strict=True):
        assert_same(fused, plain, within=1e-10)


@pytest.mark.parametrize("backend", ["spmm", "fft"])
def test_fused_rollout_without_gradients_equals_the_one_with(backend: str) -> None:
    lattice = make(backend, *CASES["soft, z"])
    x = torch.randn(4, 120, 3, dtype=torch.float64)
    learning = lattice.rollout(x)
    kept: list[torch.Size] = []
    with (
        torch.no_grad(),
        torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape), lambda _: None),
    ):
        alone = lattice.rollout(x)
    assert learning.states_CNB.requires_grad
    assert not alone.states_CNB.requires_grad
    assert kept == []
    assert float((alone.states_CNB - x).abs().max()) > 0.1
    for field in ("states_CNB", "usage_XN", "change_T", "z"):
        assert_same(getattr(alone, field), getattr(learning, field), within=1e-13)


@pytest.mark.parametrize("backend", ["spmm", "fft"])
def test_fused_step_takes_frozen_parameters(backend: str) -> None:
    """Parameters that learn get the gradient they get when all do."""
    whole, part = (
        make(backend, *CASES["local neighbours"]),
        make(backend, *CASES["local neighbours"]),
    )
    for name, parameter in part.named_parameters():
        parameter.requires_grad_("value_map" in name or "gating" in name)
    x = torch.randn(4, 120, 2, dtype=torch.float64)
    for lattice in (whole, part):
        objective(lattice.rollout(x)).backward()
    for (name, parameter), reference in zip(
        part.named_parameters(), whole.parameters(), strict=True
    ):
        if parameter.requires_grad:
            assert_same(parameter.grad, reference.grad, within=1e-12)
        else:
            assert parameter.grad is None, name


def test_scatter_and_normed_experts_are_left_to_autograd(by_hand_calls: list[int]) -> None:
    normed = make("spmm", PLAIN, {"messages": {"heads": 2, "edge_hidden": 4, "norm": True}})
    for lattice in (make("scatter", PLAIN, {}), normed):
        lattice.rollout(torch.randn(4, 120, 2, dtype=torch.float64))
    assert not by_hand_calls


class _Objective(nn.Module):
    """A rollout as a module, so that its parameters can be inputs."""

    def __init__(self, lattice: Lattice3D) -> None:
        super().__init__()
        self.lattice = lattice

    def forward(self, x_CNB: Tensor) -> Tensor:
        return objective(self.lattice.rollout(x_CNB))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["spmm", "fft"])
@pytest.mark.parametrize("crowded", [False, True])
def test_rollout_gradients_equal_numeric_ones(
    backend: str, crowded: bool, by_hand_calls: list[int]
) -> None:
    """Two steps on 3 x 3 x 4 cells, by the states and by every parameter."""
    lattice_settings = {**(CROWDED if crowded else {}), "dimensions": (3, 3, 4)}
    model = {
        "state_channels": 2,
        "messages": {"heads": 2, "edge_hidden": 2},
        "gating": {"z_weight": 0.1},
        "dynamics": {"steps": 2, "min_steps": 2},
    }
    module = _Objective(make(backend, lattice_settings, model))
    names = [name for name, _ in module.named_parameters()]
    inputs = [p.detach().clone().requires_grad_() for p in module.parameters()]
    x = torch.randn(2, 36, 2, dtype=torch.float64, requires_grad=True)

    def function(x_CNB: Tensor, *parameters: Tensor) -> Tensor:
        named = dict(zip(names, parameters, strict=True))
        result: Tensor = torch.func.functional_call(module, named, (x_CNB,))
        return result

    assert torch.autograd.gradcheck(function, (x, *inputs))
    assert by_hand_calls


@pytest.mark.parametrize("backend", ["spmm", "fft", "scatter"])
def test_state_that_does_not_move_has_a_finite_gradient(backend: str) -> None:
    """Experts that send nothing and gates that prefer none: the state stays, its change is 0."""
    lattice = make(backend, PLAIN, {})
    with torch.no_grad():
        for parameter in lattice.experts.parameters():
            parameter.zero_()
        for name, parameter in lattice.experts.named_parameters():
            if name.endswith("from_state.bias"):
                parameter[: len(parameter) // 2] = -1e4  # the gate of the functional expert shut
    lattice.gating.prefer(0, 1e4)  # the local expert alone: y = x
    x = torch.randn(4, 120, 2, dtype=torch.float64, requires_grad=True)
    rollout = lattice.rollout(x)
    assert torch.equal(rollout.states_CNB, x)
    assert rollout.change_T.tolist() == [0.0] * 3
    (1e3 * rollout.change_T.sum()).backward(retain_graph=True)
    assert x.grad is not None
    assert not bool(x.grad.any())  # of all subgradients of a norm at 0
    objective(rollout).backward()
    assert bool(x.grad.isfinite().all())
    assert bool(x.grad.any())
    assert all(bool(p.grad.isfinite().all()) for p in lattice.parameters() if p.grad is not None)


@pytest.mark.parametrize("backend", ["spmm", "fft", "scatter"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_state_of_zeros_that_stays_has_a_finite_gradient(backend: str, dtype: torch.dtype) -> None:
    lattice = make(backend, PLAIN, {}).to(dtype)
    with torch.no_grad():
        for parameter in lattice.parameters():
            parameter.zero_()
    x = torch.zeros(4, 120, 2, dtype=dtype, requires_grad=True)
    rollout = lattice.rollout(x)
    (rollout.states_CNB.sum() + rollout.change_T.sum()).backward()
    assert rollout.change_T.tolist() == [0.0] * 3
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
