"""Influence is the Jacobian and stays in the light cone; planted lags are found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latticegraph.analysis.flow import influence, lagged_information, light_cone
from latticegraph.dynamics import TrajectoryRecorder
from latticegraph.lattice import LatticeGraph


def test_influence_is_the_norm_of_the_jacobian(model, heldout):
    source = heldout.source_ND[:3]
    student = model.student
    code = student.encode(torch.from_numpy(source).float()).detach()

    def states(code_SF):
        recorder = TrajectoryRecorder()
        student.decode(code_SF, recorder)
        return recorder.trajectory_TCNB[:, :, [0, 33, 59]]

    exact = torch.autograd.functional.jacobian(states, code)
    per_sample = torch.stack([exact[:, :, :, s, s] for s in range(3)])
    wanted = per_sample.square().sum(dim=(2, 4)).mean(0).sqrt().numpy()
    found = influence(model, source, directions=100)[:, [0, 33, 59]]
    np.testing.assert_allclose(found, wanted, rtol=0.16, atol=1e-6)


def test_nothing_leaves_the_light_cone_and_something_fills_it(model, heldout):
    found_TN = influence(model, heldout.source_ND[:4], directions=2)
    cone_TN = light_cone(model.graph, 4)
    assert (found_TN[~cone_TN] == 0).all()
    assert (found_TN[cone_TN] > 0).all()
    assert cone_TN.sum(axis=1).tolist() == [12, 24, 36, 48, 60]


@pytest.mark.parametrize("boundary", ["open", "periodic"])
@pytest.mark.parametrize("numbering", ["row_major", "morton"])
def test_light_cone_follows_the_edges(boundary, numbering, model):
    changes = {"boundary": boundary, "numbering": numbering, "dimensions": (3, 4, 6)}
    graph = LatticeGraph.build(model.config.lattice.model_copy(update=changes))
    source, target = graph.edge_index_2E.numpy()
    reached = np.zeros(72, dtype=bool)
    reached[graph.input_cells.numpy()] = True
    for found in light_cone(graph, 3):
        np.testing.assert_array_equal(found, reached)
        after = reached.copy()
        after[target[reached[source]]] = True
        reached = after


def test_planted_lag_is_found():
    random = np.random.default_rng(0)
    first = [random.normal(size=(300, 6)) for _ in range(6)]
    noise = 0.5 * random.normal(size=(6, 300, 6))
    second = [first[t - 2] + noise[t] if t >= 2 else noise[t] for t in range(6)]
    found_L, null_PL = lagged_information(first, second, [0, 1, 2, 3], count=6)
    assert found_L.argmax() == 2
    # Six pairs of correlation 1 / sqrt(1.25): rho^2 = 0.8.
    bias = null_PL[:, 2].mean()
    assert found_L[2] - bias == pytest.approx(-3 * np.log2(0.2), abs=0.35)
    assert (np.delete(found_L, 2) < null_PL.max()).all()


def test_a_layer_that_stands_still_depends_on_nothing():
    random = np.random.default_rng(0)
    moving = [random.normal(size=(50, 3)) for _ in range(2)]
    found_L, _ = lagged_information(moving, [np.ones((50, 3))] * 2, [0, 1])
    assert found_L.tolist() == [0.0, 0.0]
