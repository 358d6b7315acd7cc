"""Dynamics: light cone, convergence, chunks, trajectories."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from latticegraph.lattice import LatticeGraph
from latticegraph.model import Student
from tests.model.conftest import excite, small_lattice

Build = Callable[..., Student]


def reach_after(graph: LatticeGraph, cell: int, steps: int) -> torch.Tensor:
    """Cells that ``cell`` can influence after ``steps``, by walking along edges."""
    reached = torch.zeros(graph.num_cells, dtype=torch.bool)
    reached[cell] = True
    source, target = graph.edge_index_2E
    for _ in range(steps):
        reached[target[reached[source]]] = True
    return reached


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("boundary", ["open", "periodic"])
def test_lattice_influence_is_exactly_the_light_cone(
    build: Build, steps: int, boundary: str
) -> None:
    lattice = {"boundary": boundary, "dimensions": (4, 5, 6)}
    student = build(lattice=lattice, started=False)
    excite(student)
    graph = LatticeGraph.build(small_lattice(**lattice))
    for cell in (0, 37, graph.num_cells - 1):
        x = torch.randn(4, graph.num_cells, 1, dtype=torch.float64)
        y = x.clone()
        y[:, cell] += 1.0
        moved = (
            student.lattice.rollout(y, steps).states_CNB
            - student.lattice.rollout(x, steps).states_CNB
        )
        influenced = (moved != 0).any(dim=(0, 2)) if moved.ndim == 3 else moved
        assert torch.equal(influenced, reach_after(graph, cell, steps))


def test_lattice_recording_changes_nothing(build: Build) -> None:
    student = build()
    x = torch.randn(4, 80, 3, dtype=torch.float64)
    plain, recorded = student.lattice.rollout(x), student.lattice.rollout(x, record=True)
    assert torch.equal(plain.states_CNB, recorded.states_CNB)
    assert recorded.trajectory_TCNB is not None
    assert recorded.trajectory_TCNB.shape == (5, 4, 80, 3)
    assert torch.equal(recorded.trajectory_TCNB[0], x)
    assert torch.equal(recorded.trajectory_TCNB[-1], recorded.states_CNB)
    assert torch.equal(
        student.lattice.step(recorded.trajectory_TCNB[2])[0], recorded.trajectory_TCNB[3]
    )


def test_lattice_rollout_is_repeated_steps(build: Build) -> None:
    student = build()
    x = torch.randn(4, 80, 2, dtype=torch.float64)
    by_hand = x
    for _ in range(3):
        by_hand = student.lattice.step(by_hand)[0]
    assert torch.equal(student.lattice.rollout(x, 3).states_CNB, by_hand)


@pytest.mark.parametrize("tolerance", [0.0, 0.35])
def test_lattice_chunks_change_nothing(build: Build, tolerance: float) -> None:
    dynamics = {"steps": 12, "min_steps": 2, "tolerance": tolerance, "patience": 1}
    results = []
    for budget in (4.0, 1e-5):
        student = build({"dynamics": dynamics, "max_memory_gb": budget}, started=False)
        excite(student)
        x = torch.randn(4, 80, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        x = x * torch.tensor([0.01, 0.1, 1.0, 10.0, 30.0])
        rollout = student.lattice.rollout(x, record=True)
        # Chunks of unlike length: a mean over chunks that forgets this would differ.
        assert (len(set(rollout.steps_B.tolist())) > 1) == (tolerance > 0)
        (rollout.states_CNB.square().sum() + rollout.usage_XN[0].sum()).backward()
        fields = [rollout.states_CNB, rollout.usage_XN, rollout.steps_B, rollout.trajectory_TCNB]
        results.append([*fields, *[p.grad for p in student.lattice.parameters()]])
    assert student.lattice._samples_per_chunk(12, 8) == 1
    for whole, chunked in zip(*results, strict=True):
        if whole is not None:
            torch.testing.assert_close(whole, chunked, rtol=1e-10, atol=1e-10)


def test_lattice_checkpointing_changes_nothing(build: Build) -> None:
    gradients = []
    for checkpointing in (False, True):
        student = build()
        student.lattice.checkpointing = checkpointing
        x = torch.randn(4, 80, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        student.lattice.rollout(x).states_CNB.square().sum().backward()
        gradients.append([p.grad for p in student.lattice.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed, rtol=1e-12, atol=1e-12)


def test_lattice_converged_samples_stop_alone(build: Build) -> None:
    """Each sample stops by its own change: its result equals the one it gets without company."""
    dynamics = {"steps": 12, "min_steps": 2, "tolerance": 0.35, "patience": 2}
    student = build({"dynamics": dynamics}, started=False)
    excite(student)
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(4, 80, 6, dtype=torch.float64, generator=generator)
    x = x * torch.tensor([0.01, 0.1, 1.0, 3.0, 10.0, 30.0])
    together = student.lattice.rollout(x)
    assert len(set(together.steps_B.tolist())) > 1
    assert int(together.steps_B.min()) >= 2
    for b in range(6):
        alone = student.lattice.rollout(x[:, :, b : b + 1])
        assert int(alone.steps_B) == int(together.steps_B[b])
        torch.testing.assert_close(
            alone.states_CNB[..., 0], together.states_CNB[..., b], rtol=0, atol=1e-12
        )


def test_lattice_change_is_the_relative_norm_per_step(build: Build) -> None:
    student = build()
    x = torch.randn(4, 80, 2, dtype=torch.float64)
    rollout = student.lattice.rollout(x, 2, record=True)
    assert rollout.trajectory_TCNB is not None
    before, after = rollout.trajectory_TCNB[1], rollout.trajectory_TCNB[2]
    expected = (after - before).flatten(0, 1).norm(dim=0) / before.flatten(0, 1).norm(dim=0)
    torch.testing.assert_close(rollout.change_T[1], expected.mean())


def test_lattice_stays_finite_over_many_steps(build: Build) -> None:
    student = build(started=False)
    x = torch.randn(4, 80, 2, dtype=torch.float64)
    states = student.lattice.rollout(x, 60).states_CNB
    assert float(states.detach().abs().max()) < 50
