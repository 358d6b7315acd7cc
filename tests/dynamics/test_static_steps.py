"""Steps written out for an export against those of a rollout."""

from __future__ import annotations

import pytest
import torch

from latticegraph.dynamics import Lattice3D
from latticegraph.dynamics.static_steps import StaticSteps
from latticegraph.lattice import LatticeGraph
from latticegraph.model import build_student
from tests.model.conftest import WIDTH, excite, experts, small_lattice, small_model


@pytest.mark.parametrize("steps", [3, 5])
def test_steps_written_out_are_those_of_a_rollout(steps: int) -> None:
    model = small_model(experts=experts(substeps=2), dynamics={"steps": steps, "min_steps": steps})
    graph = LatticeGraph.build(small_lattice())
    student = build_student(model, graph, WIDTH, seed=1, backend="conv3d").double()
    excite(student)
    lattice = student.dynamics
    assert isinstance(lattice, Lattice3D)
    static = StaticSteps(lattice)
    x_CNB = torch.randn(4, graph.num_cells, 3, dtype=torch.float64)
    with torch.no_grad():
        wanted_CNB = lattice.rollout(x_CNB).states_CNB
        torch.testing.assert_close(static(x_CNB), wanted_CNB, rtol=0, atol=1e-12)
    kernels = [name for name in static.state_dict() if name.startswith("kernel_")]
    assert kernels == ["kernel_0", "kernel_1", "kernel_2"]
