"""The student as a whole: gradients, backends, batches, orders, controls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import mse_loss

from latticegraph.aggregation import EdgeNeighbourhood
from latticegraph.config import LatticeSettings, ModelSettings
from latticegraph.dynamics import TrajectoryRecorder
from latticegraph.errors import ConfigError, GraphError
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Student, build_student
from tests.model.conftest import (
    assert_same,
    embeddings,
    excite,
    experts,
    small_lattice,
    small_model,
)

Build = Callable[..., Student]

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "autoencoder": {"transformer": {"kind": "autoencoder", "hidden": 8, "layer_norm": True}},
    "hierarchical": {"transformer": {"kind": "hierarchical", "levels": (20, 28), "hidden": 8}},
    "normed": {
        "messages": {"heads": 4, "edge_hidden": 8, "norm": True},
        "experts": experts(substeps=3),
    },
    "cell lift": {"mapper": {"lift": "cell", "readout": "surface", "positional": "sinusoidal"}},
    "fractal": {"mapper": {"positional": "fractal", "volume_init": "noise"}},
    "depth decay": {"mapper": {"positional": "none", "volume_init": "depth_decay"}},
    "zeros": {"mapper": {"volume_init": "zeros"}, "surface_channels": 2},
    "top 2": {"gating": {"top_k": 2, "temperature": 0.5}},
    "random start": {"init": {"init_method": "random"}},
}


@pytest.mark.parametrize("backend", ["spmm", "fft"])
@pytest.mark.parametrize("name", VARIANTS)
def test_student_gradient_reaches_every_parameter(build: Build, name: str, backend: str) -> None:
    student = build({**VARIANTS[name], "aggregation": backend})
    excite(student)
    data = embeddings(8)
    mse_loss(student(data).embedding_BD, data).backward()
    silent = [n for n, p in student.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert silent == []


@pytest.mark.parametrize(("backend", "within"), [("spmm", 1e-10), ("fft", 1e-9)])
@pytest.mark.parametrize("boundary", ["open", "periodic"])
@pytest.mark.parametrize("name", VARIANTS)
def test_student_equals_scatter_with_gradients(
    build: Build, name: str, boundary: str, backend: str, within: float
) -> None:
    data, results = embeddings(5), []
    start: dict[str, torch.Tensor] | None = None
    for kind in ("scatter", backend):
        lattice = {"boundary": boundary}
        student = build({**VARIANTS[name], "aggregation": kind}, lattice, started=start is None)
        excite(student)
        if start is not None:  # a start fitted to the data would amplify rounding
            student.load_state_dict(start)
        start = student.state_dict()
        output = student(data)
        (mse_loss(output.embedding_BD, data) + output.change_T.sum()).backward()
        gradients = [p.grad for p in student.parameters()]
        fields = [output.embedding_BD, output.states_CNB, output.usage_NX, output.change_T]
        results.append([*fields, *gradients])
    for reference, fast in zip(*results, strict=True):
        assert_same(fast, reference, within)


@pytest.mark.parametrize("backend", ["spmm", "fft"])
def test_student_batch_equals_single_samples(build: Build, backend: str) -> None:
    student = build({"aggregation": backend})
    excite(student)
    data = embeddings(6)
    together = student(data).embedding_BD
    alone = torch.cat([student(row[None]).embedding_BD for row in data])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ["spmm", "fft"])
def test_student_morton_numbering_changes_nothing(build: Build, backend: str) -> None:
    """Same per-cell parameters under either numbering of cells: same prediction."""
    data, model = embeddings(6), {"aggregation": backend}
    row_major, morton = build(model), build(model, {"numbering": "morton"})
    excite(row_major)
    state = row_major.state_dict()
    order = _free_order(morton)
    state["volume.state"] = state["volume.state"][:, order]
    morton.load_state_dict(state)
    trajectory, other_trajectory = TrajectoryRecorder(), TrajectoryRecorder()
    plain, other = row_major(data, recorder=trajectory), morton(data, recorder=other_trajectory)
    torch.testing.assert_close(other.embedding_BD, plain.embedding_BD, rtol=0, atol=1e-12)
    torch.testing.assert_close(other.change_T, plain.change_T, rtol=0, atol=1e-12)
    cell = _row_major()  # of every cell of the Morton graph
    assert not torch.equal(cell, torch.arange(80))
    torch.testing.assert_close(other.usage_NX, plain.usage_NX[cell], rtol=0, atol=1e-12)
    torch.testing.assert_close(
        other_trajectory.trajectory_TCNB,
        trajectory.trajectory_TCNB[:, :, cell],
        rtol=0,
        atol=1e-12,
    )


def _row_major() -> torch.Tensor:
    """Row-major index of every cell of the Morton graph."""
    graph = LatticeGraph.build(small_lattice(numbering="morton"))
    return (graph.coordinates_N3 * torch.tensor([20, 5, 1])).sum(1)


def _free_order(morton: Student) -> torch.Tensor:
    """Position, among row-major free cells, of every free cell of the Morton graph."""
    return _row_major()[morton.volume.free.number].argsort().argsort()


def test_student_edge_order_changes_nothing(build: Build) -> None:
    data, student = embeddings(4), build({"aggregation": "scatter"})
    before = student(data).embedding_BD
    neighbourhoods = [
        h for h in student.dynamics.aggregation.neighbourhoods if isinstance(h, EdgeNeighbourhood)
    ]
    assert len(neighbourhoods) == 2
    for neighbourhood in neighbourhoods:
        order = torch.randperm(neighbourhood.edge_index_2E.shape[1])
        neighbourhood.edge_index_2E = neighbourhood.edge_index_2E[:, order]
        assert neighbourhood.edge_offset_E is not None
        neighbourhood.edge_offset_E = neighbourhood.edge_offset_E[order]
    torch.testing.assert_close(student(data).embedding_BD, before, rtol=0, atol=1e-12)


def test_student_starts_close_to_pca(build: Build) -> None:
    """Transport and PCA start: before any update most of what 20 directions explain arrives."""
    student = build()
    data = embeddings(64)
    centred = data - data.mean(0)
    explained = 1 - (student(data).embedding_BD - data).square().sum() / centred.square().sum()
    assert float(explained.detach()) > 0.5


def test_student_identity_dynamics_lose_everything(build: Build) -> None:
    student = build({"dynamics": {"steps": 4, "min_steps": 4, "mode": "identity"}}, started=False)
    excite(student)
    output = student(embeddings(6)).embedding_BD
    torch.testing.assert_close(output, output[:1].expand_as(output), rtol=0, atol=1e-14)


def test_student_wire_control_is_linear(build: Build) -> None:
    student = build({"dynamics": {"steps": 4, "min_steps": 4, "mode": "wire"}})
    excite(student)
    a, b = embeddings(2)
    outputs = student(torch.stack([a, b, (a + b) / 2])).embedding_BD
    torch.testing.assert_close(outputs[2], (outputs[0] + outputs[1]) / 2)
    assert float((outputs[0] - outputs[1]).detach().norm()) > 0.1


def test_student_is_not_linear_with_the_lattice_on(build: Build) -> None:
    student = build()
    excite(student)
    a, b = 3 * embeddings(2)
    outputs = student(torch.stack([a, b, (a + b) / 2])).embedding_BD
    assert float((outputs[2] - (outputs[0] + outputs[1]) / 2).detach().norm()) > 1e-4


def test_student_seed_decides_the_parameters_and_leaves_the_global_state() -> None:
    graph = LatticeGraph.build(small_lattice())
    torch.manual_seed(11)
    first = build_student(small_model(), graph, 24, seed=1)
    drawn = torch.rand(1)
    torch.manual_seed(11)
    assert torch.equal(drawn, torch.rand(1))
    same, other = (
        build_student(small_model(), graph, 24, seed=1),
        build_student(small_model(), graph, 24, seed=2),
    )
    for a, b in zip(first.parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.mapper.lift, other.mapper.lift)  # type: ignore[arg-type]
    usual, zero = (
        build_student(small_model(), graph, 24),
        build_student(small_model(), graph, 24, 0),
    )
    for a, b in zip(usual.parameters(), zero.parameters(), strict=True):
        assert torch.equal(a, b)


def test_student_rejects_too_few_steps_to_cross() -> None:
    graph = LatticeGraph.build(LatticeSettings())
    settings = ModelSettings.model_validate({"dynamics": {"steps": 6, "min_steps": 6}})
    with pytest.raises(GraphError, match=r"model\.dynamics\.steps: .*7.*6"):
        build_student(settings, graph, 384)


def test_student_volume_carries_one_number_per_cell(build: Build) -> None:
    mapper = {"lift": "cell", "readout": "surface"}
    student = build({"mapper": mapper}, {"surface": "volume"}, width=80)
    data = embeddings(4, 80)
    assert student.transformer is None
    explained = 1 - mse_loss(student(data).embedding_BD, data) / data.var(dim=0).mean()
    assert float(explained.detach()) > 0.5
    graph = LatticeGraph.build(small_lattice(surface="volume"))
    with pytest.raises(ConfigError, match=r"lattice\.dimensions: expected 24 cells .* got 80"):
        build_student(small_model(), graph, 24)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_student_crosses_along_every_axis(build: Build, axis: int) -> None:
    """A start by transport works along each axis, also where the faces are not square."""
    student = build(lattice={"axis": axis})
    data = embeddings(64)
    centred = data - data.mean(0)
    explained = 1 - (student(data).embedding_BD - data).square().sum() / centred.square().sum()
    assert float(explained.detach()) > 0.4


@pytest.mark.parametrize(
    ("mapper", "rows"),
    [
        ({"readout": "surface"}, 10),
        ({"readout_init": "zeros"}, 10),
        ({"start_samples": 20}, 16),
        ({"readout": "surface", "start_samples": 5}, 5),
    ],
)
def test_start_takes_evenly_spread_rows_and_few_where_little_is_fitted(
    build: Build, mapper: dict[str, Any], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latticegraph.model.student.CALIBRATION_SAMPLES", 10)
    student, taken = build({"mapper": mapper}, started=False), []
    monkeypatch.setattr(student, "_start_readout", lambda *pair: taken.append(pair))
    data = embeddings(64)
    student.start_from_data(data, 2 * data)
    ((source, target),) = taken
    assert len(source) == rows
    step = -(-64 // rows)
    assert torch.equal(source, data[::step])
    assert torch.equal(target, 2 * source)


@pytest.mark.parametrize("together", [7, 100])
def test_start_standardises_about_the_mean_of_what_goes_in(
    build: Build, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand, and the same directions wherever the embeddings lie, in blocks and at once."""
    monkeypatch.setattr("latticegraph.model.student.COVARIANCE_ROWS", together)
    data = embeddings(64)
    students = [build(started=False) for _ in range(2)]
    for student, rows in zip(students, (data, data + 7.0), strict=True):
        student.start_from_data(rows, 2 * rows)
        torch.testing.assert_close(student.mean_D, rows.mean(0))
        torch.testing.assert_close(student.target_mean_D, 2 * rows.mean(0))
        torch.testing.assert_close(student.std, (rows - rows.mean(0)).square().mean().sqrt())
    codes = [
        student.encode(rows) for student, rows in zip(students, (data, data + 7.0), strict=True)
    ]
    torch.testing.assert_close(*codes, rtol=1e-8, atol=1e-9)
    # Its leading directions hold the most variance there is: those of PCA.
    values = torch.linalg.eigvalsh(torch.cov(data.t(), correction=0)).flip(0)[: codes[0].shape[1]]
    spread = codes[0].detach().var(0, correction=0).sum()
    assert float(spread) == pytest.approx(float(values.sum() / values.mean()), rel=1e-6)


def test_components_are_the_parts_that_have_parameters(build: Build) -> None:
    """A volume of noise has none, and where every cell is a surface there is no projection."""
    full = build(started=False).components()
    bare = build({"mapper": {"volume_init": "noise"}}, started=False).components()
    assert full.keys() - bare.keys() == {"volume"}
    volume = {"lattice": {"surface": "volume", "dimensions": (2, 3, 4)}}
    without = build(**volume, started=False).components()
    assert "transformer" not in without
    for parts in (full, bare, without):
        assert all(list(part.parameters()) for part in parts.values())
