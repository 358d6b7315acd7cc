"""Which cells a process holds: all of them, or slabs that cover the lattice once."""

from __future__ import annotations

import pytest
import torch

from latticegraph.aggregation import Cells, SlabCells, divide_cells, resolve_backend
from latticegraph.config import LatticeSettings
from latticegraph.config.model import ModelSettings
from latticegraph.distributed import ALONE, Processes
from latticegraph.errors import ConfigError
from latticegraph.lattice import LatticeGraph
from latticegraph.model import build_student
from tests.model.conftest import small_model

NINE = LatticeGraph.build(LatticeSettings(dimensions=(9, 4, 5), adaptive_radius_min=2.0))


def slabs(size: int) -> list[Cells]:
    return [divide_cells(NINE, Processes(rank, size)) for rank in range(size)]


@pytest.mark.parametrize("size", [2, 3, 4])
def test_slabs_cover_the_lattice_once_and_meet(size: int) -> None:
    held = [part for part in slabs(size) if isinstance(part, SlabCells)]
    assert len(held) == size
    assert [plane for part in held for plane in range(part.first, part.end)] == list(range(9))
    assert [part.num_cells for part in held] == held[0].sizes()
    assert sum(held[0].sizes()) == held[0].total == 180
    assert [part.before for part in held] == [0] + [2] * (size - 1)
    assert [part.after for part in held] == [2] * (size - 1) + [0]
    some = torch.tensor([179, 0, 60, 61, 119])
    found = torch.zeros(5, dtype=torch.int64)
    for part in held:
        position, number = part.held(some)
        found[position] = number + part.first * 20
        assert (number < part.num_cells).all()
    assert torch.equal(found, some)


def test_slabs_write_and_read_what_one_process_does() -> None:
    """The own part of the values is written; parts that are read add up to all of them."""
    numbers = torch.tensor([179, 3, 60, 61, 119])
    x, values = torch.randn(2, 180, 3), torch.randn(2, 5, 3)
    whole = Cells(NINE).select(numbers)
    written = whole.write(x, values)
    assert torch.equal(whole.read(written), values)
    read = torch.zeros(2, 5, 3)
    for part in slabs(3):
        assert isinstance(part, SlabCells)
        part.sum = lambda value: value  # type: ignore[method-assign]  # no other process is here
        first = part.first * 20
        own = part.select(numbers).write(x[:, first : first + part.num_cells], values)
        assert torch.equal(own, written[:, first : first + part.num_cells])
        read += part.select(numbers).read(own)
    assert torch.equal(read, values)


def test_one_process_holds_all_cells() -> None:
    alone = divide_cells(NINE, ALONE)
    assert alone.is_whole
    assert alone.num_cells == alone.total == 180


@pytest.mark.parametrize(
    ("key", "value", "needed"),
    [("boundary", "periodic", "open"), ("numbering", "morton", "row_major"), ("axis", 1, 0)],
)
def test_lattice_that_cannot_be_divided_is_refused(key: str, value: object, needed: object) -> None:
    graph = LatticeGraph.build(NINE.settings.model_copy(update={key: value}))
    wanted = (
        rf"^lattice\.{key}: expected {needed} for run\.parallel 'slabs', got {value}\. "
        rf"Set lattice\.{key} to {needed}, or run\.parallel to data"
    )
    with pytest.raises(ConfigError, match=wanted):
        divide_cells(graph, Processes(0, 2))


def test_slabs_thinner_than_an_edge_are_refused_and_the_number_named_works() -> None:
    wanted = (
        r"^run\.parallel: expected slabs of at least 2 planes \(the reach of an edge\), got 1: "
        r"9 planes among 5 processes\. Start at most 4 processes, or enlarge lattice\.dimensions"
    )
    with pytest.raises(ConfigError, match=wanted):
        divide_cells(NINE, Processes(3, 5))
    divide_cells(NINE, Processes(3, 4))


@pytest.mark.parametrize("way", ["spmm", "scatter"])
def test_slabs_are_summed_by_convolution_only(way: str) -> None:
    settings = ModelSettings.model_validate({"aggregation": way})
    wanted = rf"^model\.aggregation: expected auto or fft .* 'slabs', got {way}\. Set it to auto"
    with pytest.raises(ConfigError, match=wanted):
        resolve_backend(settings, NINE, 64, "cpu", whole=False)
    assert resolve_backend(ModelSettings(), NINE, 64, "cpu", whole=False) == "fft"


def test_slabs_are_not_compiled() -> None:
    wanted = (
        r"^model\.compile: expected false for run\.parallel 'slabs', .* got true\. Set it to fal"
    )
    with pytest.raises(ConfigError, match=wanted):
        build_student(small_model(compile=True), NINE, 16, cells=slabs(2)[1])


def test_slabs_know_how_far_edges_reach_along_the_divided_axis() -> None:
    flat = LatticeGraph.build(LatticeSettings(dimensions=(9, 2, 5), adaptive_radius_min=2.0))
    assert flat.offsets_O3.abs().amax(0).tolist() == [2, 1, 2]
    part = divide_cells(flat, Processes(1, 3))
    assert isinstance(part, SlabCells)
    assert (part.reach, part.before, part.after) == (2, 2, 2)
