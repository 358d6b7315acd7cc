"""The experts of a model whose answer is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from latticegraph.config import Config
from latticegraph.evaluation import EmbeddingSplit
from latticegraph.hub import LatticeModel
from latticegraph.pipeline.attribution import untrained
from latticegraph.pipeline.expert_roles import GateRecorder, expert_roles
from latticegraph.pipeline.prepare import Prepared, prepare


@pytest.fixture
def prepared(make_config: Callable[..., Config]) -> Prepared:
    return prepare(make_config(), torch.device("cpu"))


@pytest.fixture
def model(prepared: Prepared) -> LatticeModel:
    return untrained(prepared)


def roles_of(model: LatticeModel, prepared: Prepared, batch_size: int = 3) -> dict:
    held = prepared.heldout
    return expert_roles(
        model,
        EmbeddingSplit.of("heldout", held.source_ND, held.target_ND),
        [sample.group for sample in prepared.splits.heldout],
        prepared.train.target_ND.double().mean(0).numpy(),
        batch_size=batch_size,
        precision="float32",
    )


def test_an_expert_with_no_part_costs_nothing_and_another_does(
    model: LatticeModel, prepared: Prepared
) -> None:
    dynamics = model.student.dynamics
    with torch.no_grad():
        for parameter in dynamics.experts["local"].parameters():
            parameter.zero_()
    found = roles_of(model, prepared)["experts"]
    assert list(found) == list(dynamics.names)
    assert sum(row["share"] for row in found.values()) == pytest.approx(1.0, abs=1e-5)
    lost = found["local"]["silenced"]["difference"]["explained_variance"]
    assert lost == pytest.approx(0.0, abs=1e-6)
    costs = {
        name: abs(row["silenced"]["difference"]["explained_variance"])
        for name, row in found.items()
    }
    assert max(costs.values()) > 1e-3


def test_whole_minus_silenced_is_the_difference(model: LatticeModel, prepared: Prepared) -> None:
    target_ND = prepared.heldout.target_ND.double()
    mean_D = prepared.train.target_ND.double().mean(0)
    predicted_ND = model.predict(prepared.heldout.source_ND).double()
    error = (predicted_ND - target_ND).square().sum() / (target_ND - mean_D).square().sum()
    for row in roles_of(model, prepared)["experts"].values():
        silenced = row["silenced"]
        whole = silenced["explained_variance"] + silenced["difference"]["explained_variance"]
        assert whole == pytest.approx(1 - float(error), abs=1e-5)


def test_gates_are_those_of_the_samples_in_order(model: LatticeModel, prepared: Prepared) -> None:
    source_ND = prepared.heldout.source_ND
    recorders = [GateRecorder(model.graph.num_cells) for _ in range(2)]
    for recorder, batch in zip(recorders, (3, len(source_ND)), strict=True):
        model.run(source_ND, batch, recorder=recorder)
    parts, whole = (recorder.gates_SnX for recorder in recorders)
    assert whole.shape == (len(source_ND), model.graph.num_cells, 3)
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    usage_NX = model.student(source_ND).usage_NX.detach().double().numpy()
    np.testing.assert_allclose(whole.mean(axis=0), usage_NX, atol=1e-5)
    assert whole.std(axis=0).max() > 1e-4


def test_constant_gates_have_no_information(model: LatticeModel, prepared: Prepared) -> None:
    assert roles_of(model, prepared)["gates"]["bits"] > 0
    with torch.no_grad():
        for parameter in model.student.dynamics.gating.parameters():
            parameter.zero_()
    assert roles_of(model, prepared)["gates"]["bits"] == pytest.approx(0.0, abs=1e-6)
