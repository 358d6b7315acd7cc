"""Gradients through the last steps only."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from latticegraph.dynamics import Rollout
from latticegraph.model import Lattice3D, Student
from tests.model.conftest import assert_same, embeddings, excite

Build = Callable[..., Student]
STEPS, BATCH = 5, 3


def lattice_with(build: Build, kept: int | None, backend: str = "spmm") -> Lattice3D:
    """The same parameters whatever is kept; read where written, so that few steps may do."""
    model = {
        "aggregation": backend,
        "gating": {"z_weight": 0.1},
        "dynamics": {"steps": STEPS, "min_steps": STEPS, "backprop_steps": kept},
    }
    student = build(model, {"surface": "all_faces"}, started=False)
    excite(student)
    return student.dynamics


def first_states(lattice: Lattice3D) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (4, lattice.cells.num_cells, BATCH)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def mixture(rollout: Rollout, kept: int, share: float = 1.0) -> torch.Tensor:
    """A number that depends on the last states and on the statistics of the last ``kept`` steps.

    Usage and z are means over all steps; ``share`` is that of the rollout's steps among them.
    """
    generator = torch.Generator().manual_seed(4)
    changes = rollout.change_T[-kept:]
    mixed = torch.zeros((), dtype=torch.float64)
    for part in (rollout.states_CNB, share * rollout.usage_XN, changes, share * rollout.z):
        weight = torch.randn(part.shape, generator=generator, dtype=torch.float64)
        mixed = mixed + (weight * part).sum()
    return mixed


def gradients(lattice: Lattice3D) -> dict[str, torch.Tensor | None]:
    found = {name: parameter.grad for name, parameter in lattice.named_parameters()}
    lattice.zero_grad()
    return found


@pytest.mark.parametrize("kept", [1, 2, 4])
@pytest.mark.parametrize("backend", ["spmm", "fft"])
@pytest.mark.parametrize("recomputed", [0, 1, 2, 9])
def test_gradient_is_that_of_a_detached_state(
    build: Build, kept: int, backend: str, recomputed: int
) -> None:
    lattice = lattice_with(build, kept, backend)
    lattice.checkpoint_steps = recomputed
    x_CNB = first_states(lattice)
    rollout = lattice.rollout(x_CNB)
    mixture(rollout, kept).backward()
    assert x_CNB.grad is None
    got = gradients(lattice)

    plain = lattice_with(build, None, backend)
    with torch.no_grad():
        reached = plain.rollout(x_CNB, STEPS - kept).states_CNB
    last = plain.rollout(reached.detach(), kept)
    assert_same(rollout.states_CNB, last.states_CNB, 1e-12)
    mixture(last, kept, kept / STEPS).backward()
    for name, grad in gradients(plain).items():
        assert grad is not None
        assert grad.any()
        assert_same(got[name], grad, 1e-11)


@pytest.mark.parametrize("kept", [1, 3, STEPS, STEPS + 4])
def test_values_are_the_same_whatever_is_kept(build: Build, kept: int) -> None:
    plain = lattice_with(build, None)
    wanted = vars(plain.rollout(first_states(plain)))
    lattice = lattice_with(build, kept)
    got = vars(lattice.rollout(first_states(lattice)))
    for name, value in wanted.items():
        # Sums over steps are grouped otherwise.
        assert_same(got[name], value, 1e-14 if name in ("usage_XN", "z") else 0.0)


@pytest.mark.parametrize("kept", [STEPS, STEPS + 4])
def test_gradient_through_all_steps_equals_null(build: Build, kept: int) -> None:
    found = []
    for number in (None, kept):
        lattice = lattice_with(build, number)
        x_CNB = first_states(lattice)
        mixture(lattice.rollout(x_CNB), STEPS).backward()
        assert x_CNB.grad is not None
        found.append(gradients(lattice) | {"x": x_CNB.grad})
    first, second = found
    for name, grad in first.items():
        assert grad is not None
        other = second[name]
        assert other is not None
        assert torch.equal(grad, other), name


def test_fewer_kept_steps_give_another_gradient(build: Build) -> None:
    norms = []
    for kept in (1, 2, None):
        lattice = lattice_with(build, kept)
        rollout = lattice.rollout(first_states(lattice))
        rollout.states_CNB.square().mean().backward()
        found = [grad for grad in gradients(lattice).values() if grad is not None]
        norms.append(float(sum(grad.norm() for grad in found)))
    assert len({round(norm, 9) for norm in norms}) == 3


def test_kept_steps_train_the_lattice_and_leave_what_lies_before_it(build: Build) -> None:
    model = {
        "transformer": {"kind": "autoencoder", "hidden": 8},
        "dynamics": {"steps": 4, "min_steps": 4, "backprop_steps": 3},
    }
    student = build(model)
    excite(student)
    student(embeddings(8)).embedding_BD.square().mean().backward()
    trained = {name for name, p in student.named_parameters() if p.grad is not None}
    before = {
        name
        for name, _ in student.named_parameters()
        if name.startswith(("transformer.to_surface", "mapper", "volume"))
    }
    assert before
    assert trained == {name for name, _ in student.named_parameters()} - before
