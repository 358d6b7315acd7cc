"""A student that convolves on the grid: no edges, single and half precision, choice of backend."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import mse_loss

from latticegraph.aggregation import (
    Backend,
    EdgeNeighbourhood,
    GridNeighbourhood,
    Neighbourhood,
    SelfNeighbourhood,
    SparseNeighbourhood,
)
from latticegraph.aggregation.aggregation import make_neighbourhood
from latticegraph.config import LatticeSettings
from latticegraph.lattice import EdgeType, LatticeGraph
from latticegraph.lattice import graph as graph_module
from latticegraph.losses import SpatialLoss
from latticegraph.model import Student, build_student
from tests.model.conftest import WIDTH, embeddings, excite, small_lattice, small_model


@pytest.fixture
def no_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building edges is an error."""

    def refuse(settings: LatticeSettings) -> None:
        raise AssertionError("edges were built")

    monkeypatch.setattr(graph_module, "build_by_offsets", refuse)


@pytest.mark.usefixtures("no_edges")
@pytest.mark.parametrize("numbering", ["row_major", "morton"])
def test_fft_student_learns_without_building_edges(numbering: str) -> None:
    graph = LatticeGraph.build(small_lattice(numbering=numbering))
    student = build_student(small_model(aggregation="fft"), graph, WIDTH).double()
    data = embeddings(8)
    student.start_from_data(data, data)
    spatial = SpatialLoss(graph, "fft").double()
    output = student(data)
    (mse_loss(output.embedding_BD, data) + spatial(output, data)).backward()
    assert all(p.grad is not None for p in student.dynamics.parameters())
    assert graph._edges is None
    with pytest.raises(AssertionError, match="edges were built"):
        build_student(small_model(aggregation="spmm"), graph, WIDTH)


@pytest.mark.parametrize(
    ("backend", "kind"),
    [("spmm", SparseNeighbourhood), ("fft", GridNeighbourhood), ("scatter", EdgeNeighbourhood)],
)
def test_neighbourhoods_follow_the_setting(backend: Backend, kind: type[Neighbourhood]) -> None:
    """A cell that is its own only neighbour needs no sum, whatever the setting."""
    graph = LatticeGraph.build(small_lattice())
    student = build_student(small_model(aggregation=backend), graph, WIDTH)
    assert student.dynamics.backend == backend
    kinds = [type(neighbourhood) for neighbourhood in student.dynamics.aggregation.neighbourhoods]
    assert kinds == [SelfNeighbourhood, kind, kind]
    crowded = LatticeGraph.build(small_lattice(local_distance_ratio=0.5, adaptive_radius_min=2.3))
    assert type(make_neighbourhood(crowded, [EdgeType.LOCAL], 2, backend)) is kind


def trained(backend: str, dtype: torch.dtype) -> Student:
    """The same parameters for every backend and precision."""
    graph = LatticeGraph.build(small_lattice())
    student = build_student(small_model(aggregation=backend), graph, WIDTH, seed=1).double()
    excite(student)
    return student.to(dtype)


def outcome(student: Student, data: torch.Tensor, short: bool = False) -> dict[str, torch.Tensor]:
    """Output, and the gradient of all parameters of the lattice, in double precision.

    With ``short`` the student runs under autocast, as in training.
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=short):
        output = student(data)
    assert output.change_T.dtype == data.dtype
    (output.embedding_BD.to(data.dtype).square().mean() + output.change_T.sum()).backward()
    grads = [p.grad.flatten() for p in student.dynamics.parameters() if p.grad is not None]
    fields = {"embedding": output.embedding_BD, "states": output.states_CNB}
    return {n: v.detach().double() for n, v in {**fields, "grad": torch.cat(grads)}.items()}


def errors(got: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> list[float]:
    """Norm of each error relative to the norm of what is wanted."""
    assert got["grad"].shape == wanted["grad"].shape
    return [float((got[n] - wanted[n]).norm() / wanted[n].norm()) for n in wanted]


@pytest.mark.parametrize("backend", ["fft", "spmm"])
def test_student_in_single_precision_stays_close_to_double(backend: str) -> None:
    data = embeddings(6)
    wanted = outcome(trained("scatter", torch.float64), data)
    got = outcome(trained(backend, torch.float32), data.float())
    assert 0 < max(errors(got, wanted)) < 1e-5


@pytest.mark.parametrize("backend", ["fft", "spmm", "scatter"])
def test_student_under_autocast_stays_close_to_single_precision(backend: str) -> None:
    data = embeddings(6).float()
    wanted = outcome(trained(backend, torch.float32), data)
    got = outcome(trained(backend, torch.float32), data, short=True)
    # bfloat16 has eight bits; a step is several products.
    assert 0 < max(errors(got, wanted)) < 0.1
