"""Dynamics without a lattice: identity and wire."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from latticegraph.dynamics import Identity, TrajectoryRecorder
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Student
from tests.model.conftest import embeddings, excite, small_lattice

Build = Callable[..., Student]
GRAPH = LatticeGraph.build(small_lattice())


def control(build: Build, mode: str) -> Student:
    model = {"dynamics": {"steps": 4, "min_steps": 4, "mode": mode}}
    student = build(model, started=False)
    excite(student)
    return student


def test_identity_leaves_every_state_and_its_student_answers_with_a_constant(build: Build) -> None:
    student = control(build, "identity")
    x = torch.randn(4, 80, 3, dtype=torch.float64)
    assert torch.equal(student.dynamics.rollout(x).states_CNB, x)
    answers = student(embeddings(5)).embedding_BD
    torch.testing.assert_close(answers, answers[:1].expand_as(answers), rtol=0, atol=1e-12)


def test_wire_copies_the_input_face_to_the_output_face(build: Build) -> None:
    student = control(build, "wire")
    x = torch.randn(4, 80, 3, dtype=torch.float64)
    final = student.dynamics.rollout(x).states_CNB
    assert torch.equal(final[:, GRAPH.output_cells], x[:, GRAPH.input_cells])
    others = torch.ones(80, dtype=torch.bool)
    others[GRAPH.output_cells] = False
    assert torch.equal(final[:, others], x[:, others])


@pytest.mark.parametrize("mode", ["identity", "wire"])
def test_control_takes_no_step_and_has_no_parameters(build: Build, mode: str) -> None:
    student = control(build, mode)
    recorder = TrajectoryRecorder()
    output = student(embeddings(3), recorder=recorder)
    assert output.steps_B.tolist() == [0, 0, 0]
    assert list(student.dynamics.parameters()) == []
    assert student.dynamics.components() == {}
    assert not recorder._states
    torch.testing.assert_close(output.usage_NX, torch.full((80, 3), 1 / 3).double())
    plan = student.dynamics.plan(3, 4, 8)
    assert (plan.samples, plan.checkpoint_steps) == (3, 0)
    assert plan.gb == 4 * (8 * 4 * 80 * 3) / 2**30  # four states of 4 channels, 80 cells, 3 samples


def test_student_with_other_dynamics_shares_its_parameters(build: Build) -> None:
    student = build()
    dynamics = student.dynamics
    off = student.with_dynamics(Identity(dynamics.names, dynamics.cells, dynamics.backend, 4))
    own = dict(student.named_parameters())
    assert all(own[name] is parameter for name, parameter in off.named_parameters())
    assert {name.split(".")[0] for name in own.keys() - dict(off.named_parameters()).keys()} == {
        "dynamics"
    }
    data = embeddings(6)
    constant = off(data).embedding_BD
    torch.testing.assert_close(constant, constant[:1].expand_as(constant), rtol=0, atol=1e-12)
    assert float(student(data).embedding_BD.std(0).detach().min()) > 1e-3
