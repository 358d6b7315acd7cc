"""Dynamics: light cone, convergence, chunks, trajectories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from latticegraph.dynamics import TrajectoryRecorder
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
            student.dynamics.rollout(y, steps).states_CNB
            - student.dynamics.rollout(x, steps).states_CNB
        )
        influenced = (moved != 0).any(dim=(0, 2)) if moved.ndim == 3 else moved
        assert torch.equal(influenced, reach_after(graph, cell, steps))


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("boundary", ["open", "periodic"])
def test_lattice_with_fft_has_the_same_light_cone(build: Build, steps: int, boundary: str) -> None:
    """A transform rounds everywhere: beyond the cone there is rounding, within it much more."""
    lattice = {"boundary": boundary, "dimensions": (4, 5, 6)}
    student = build({"aggregation": "fft"}, lattice, started=False)
    excite(student)
    graph = LatticeGraph.build(small_lattice(**lattice))
    for cell in (0, 37, graph.num_cells - 1):
        x = torch.randn(4, graph.num_cells, 1, dtype=torch.float64)
        y = x.clone()
        y[:, cell] += 1.0
        after = student.dynamics.rollout(x, steps).states_CNB
        moved_N = (student.dynamics.rollout(y, steps).states_CNB - after).abs().amax(dim=(0, 2))
        rounding = 1e-12 * float(after.detach().abs().max())
        assert torch.equal(moved_N > rounding, reach_after(graph, cell, steps))


@pytest.mark.parametrize("numbering", ["row_major", "morton"])
@pytest.mark.parametrize("backend", ["spmm", "fft"])
def test_lattice_recording_changes_nothing(build: Build, backend: str, numbering: str) -> None:
    student = build({"aggregation": backend}, {"numbering": numbering})
    x = torch.randn(4, 80, 3, dtype=torch.float64)
    recorder = TrajectoryRecorder()
    plain = student.dynamics.rollout(x)
    recorded = student.dynamics.rollout(x, recorder=recorder)
    trajectory_TCNB = recorder.trajectory_TCNB
    for name, value in vars(plain).items():
        assert torch.equal(getattr(recorded, name), value), name
    assert trajectory_TCNB.shape == (5, 4, 80, 3)
    assert torch.equal(trajectory_TCNB[0], x)
    assert torch.equal(trajectory_TCNB[-1], recorded.states_CNB)
    assert torch.equal(student.dynamics.step(trajectory_TCNB[2])[0], trajectory_TCNB[3])


@pytest.mark.parametrize("backend", ["spmm", "fft"])
def test_lattice_rollout_is_repeated_steps(build: Build, backend: str) -> None:
    student = build({"aggregation": backend}, {"numbering": "morton"})
    x = torch.randn(4, 80, 2, dtype=torch.float64)
    by_hand = x
    for _ in range(3):
        by_hand = student.dynamics.step(by_hand)[0]
    assert torch.equal(student.dynamics.rollout(x, 3).states_CNB, by_hand)


@pytest.mark.parametrize(
    ("steps", "expected"), [(1, [1]), (8, [8]), (9, [5, 4]), (16, [8, 8]), (17, [6, 6, 5])]
)
def test_lattice_steps_are_compiled_in_few_lengths(
    build: Build, steps: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every length is a graph of its own, which takes long to compile."""
    lattice, counts = build().dynamics, []
    take = lattice.take_steps

    def counted(*arguments: Any) -> Any:
        counts.append(arguments[-1])
        return take(*arguments)

    monkeypatch.setattr(lattice, "take_steps", counted)
    lattice.rollout(torch.randn(4, 80, 2, dtype=torch.float64), steps)
    assert counts == expected


def one_at_a_time(build: Build, model: dict[str, object]) -> Student:
    """A student whose memory holds a rollout of one sample of five, and not of two."""
    budget = 4.0
    while True:
        student = build({**model, "max_memory_gb": budget}, started=False)
        if student.dynamics.plan(5, 12, 8).samples == 1:
            return student
        budget *= 0.8


@pytest.mark.parametrize("backend", ["spmm", "fft"])
@pytest.mark.parametrize("tolerance", [0.0, 0.35])
def test_lattice_chunks_change_nothing(build: Build, tolerance: float, backend: str) -> None:
    dynamics = {"steps": 12, "min_steps": 3, "tolerance": tolerance, "patience": 1}
    gating = {"z_weight": 0.1}
    model = {"dynamics": dynamics, "aggregation": backend, "gating": gating}
    results = []
    for student in (build(model, started=False), one_at_a_time(build, model)):
        excite(student)
        x = torch.randn(4, 80, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        x = x * torch.tensor([0.01, 0.1, 1.0, 10.0, 30.0])
        recorder = TrajectoryRecorder()
        rollout = student.dynamics.rollout(x, recorder=recorder)
        # Chunks of unlike length: a mean over chunks that forgets this would differ.
        assert (len(set(rollout.steps_B.tolist())) > 1) == (tolerance > 0)
        assert float(rollout.z.detach()) > 0
        means = rollout.usage_XN[0].sum() + rollout.change_T.sum() + rollout.z
        (rollout.states_CNB.square().sum() + means).backward()
        fields = [rollout.states_CNB, rollout.usage_XN, rollout.steps_B, recorder.trajectory_TCNB]
        fields += [rollout.change_T, rollout.z]
        results.append([*fields, *[p.grad for p in student.dynamics.parameters()]])
    for whole, chunked in zip(*results, strict=True):
        if whole is not None:
            torch.testing.assert_close(whole, chunked, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("backend", ["spmm", "fft"])
def test_lattice_checkpointing_changes_nothing(build: Build, backend: str) -> None:
    gradients = []
    for checkpointing in (False, True):
        student = build({"aggregation": backend})
        student.dynamics.checkpoint_steps = int(checkpointing)
        x = torch.randn(4, 80, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        student.dynamics.rollout(x).states_CNB.square().sum().backward()
        gradients.append([p.grad for p in student.dynamics.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ["spmm", "fft"])
def test_lattice_converged_samples_stop_alone(build: Build, backend: str) -> None:
    """Each sample stops by its own change: its result equals the one it gets without company."""
    dynamics = {"steps": 12, "min_steps": 3, "tolerance": 0.35, "patience": 2}
    student = build({"dynamics": dynamics, "aggregation": backend}, started=False)
    excite(student)
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(4, 80, 6, dtype=torch.float64, generator=generator)
    x = x * torch.tensor([0.01, 0.1, 1.0, 3.0, 10.0, 30.0])
    together = student.dynamics.rollout(x)
    assert len(set(together.steps_B.tolist())) > 1
    assert int(together.steps_B.min()) >= 3
    for b in range(6):
        alone = student.dynamics.rollout(x[:, :, b : b + 1])
        assert int(alone.steps_B) == int(together.steps_B[b])
        torch.testing.assert_close(
            alone.states_CNB[..., 0], together.states_CNB[..., b], rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("backend", ["spmm", "fft"])
def test_lattice_change_is_the_relative_norm_per_step(build: Build, backend: str) -> None:
    student = build({"aggregation": backend})
    x = torch.randn(4, 80, 2, dtype=torch.float64)
    recorder = TrajectoryRecorder()
    rollout = student.dynamics.rollout(x, 2, recorder)
    before, after = recorder.trajectory_TCNB[1:3]
    expected = (after - before).flatten(0, 1).norm(dim=0) / before.flatten(0, 1).norm(dim=0)
    torch.testing.assert_close(rollout.change_T[1], expected.mean())


def test_lattice_stays_finite_over_many_steps(build: Build) -> None:
    student = build(started=False)
    x = torch.randn(4, 80, 2, dtype=torch.float64)
    states = student.dynamics.rollout(x, 60).states_CNB
    assert float(states.detach().abs().max()) < 50
