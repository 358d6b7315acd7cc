from __future__ import annotations

import itertools
from typing import Literal

import pytest

from latticegraph.config import LatticeSettings
from latticegraph.lattice import LatticeGraph


def _graph(**keys: object) -> LatticeGraph:
    shape = {"dimensions": (3, 4, 5), "adaptive_radius_min": 1.6}
    return LatticeGraph.build(LatticeSettings.model_validate({**shape, **keys}))


@pytest.mark.parametrize("numbering", ["row_major", "morton"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_surfaces_front_and_back_face_in_row_major_order(
    axis: int, numbering: Literal["row_major", "morton"]
) -> None:
    graph = _graph(axis=axis, numbering=numbering)
    for surface, depth in ((graph.input_cells, 0), (graph.output_cells, (2, 3, 4)[axis])):
        ranges = [range(3), range(4), range(5)]
        ranges[axis] = range(depth, depth + 1)
        expected = [list(cell) for cell in itertools.product(*ranges)]
        assert graph.coordinates_N3[surface].tolist() == expected
        assert set(graph.depth_N[surface].tolist()) == {depth}


@pytest.mark.parametrize("numbering", ["row_major", "morton"])
def test_surfaces_all_faces_are_the_shell(numbering: str) -> None:
    graph = _graph(surface="all_faces", numbering=numbering)
    cells = graph.coordinates_N3[graph.input_cells].tolist()
    inside = [[1, j, k] for j in (1, 2) for k in (1, 2, 3)]
    everything = [list(cell) for cell in itertools.product(range(3), range(4), range(5))]
    assert cells == [cell for cell in everything if cell not in inside]
    assert graph.output_cells.tolist() == graph.input_cells.tolist()


def test_surfaces_volume_is_every_cell_in_row_major_order() -> None:
    graph = _graph(surface="volume", numbering="morton")
    everything = [list(cell) for cell in itertools.product(range(3), range(4), range(5))]
    assert graph.coordinates_N3[graph.input_cells].tolist() == everything
    assert graph.output_cells.tolist() == graph.input_cells.tolist()


def test_surfaces_depth_follows_the_axis() -> None:
    graph = _graph(axis=2, numbering="morton")
    assert graph.depth_N.tolist() == [cell[2] for cell in graph.coordinates_N3.tolist()]
