from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from latticegraph.config import LatticeSettings
from latticegraph.lattice import build_by_offsets, crossing_steps, number_cells, reach

sides = st.integers(2, 6)


def _steps_over_edges(settings: LatticeSettings) -> int:
    """Breadth-first search from the front plane over real edges, until the back plane is full."""
    depth_N = torch.from_numpy(number_cells(settings).coordinates_N3[:, settings.axis])
    source_E, target_E = build_by_offsets(settings).edge_index_2E
    back_N = depth_N == settings.dimensions[settings.axis] - 1
    felt_N = depth_N == 0
    steps = 0
    while not felt_N[back_N].all():
        steps += 1
        felt_N = felt_N.clone().index_put((target_E[felt_N[source_E]],), torch.tensor(True))
        assert steps <= len(felt_N)
    return steps


@given(
    dimensions=st.tuples(sides, sides, sides),
    ratio=st.integers(17, 100),
    axis=st.integers(0, 2),
    boundary=st.sampled_from(["open", "periodic"]),
    own=st.booleans(),
)
@hypothesis_settings(deadline=None, max_examples=40, derandomize=True)
def test_crossing_steps_equal_search_over_edges(
    dimensions: tuple[int, int, int], ratio: int, axis: int, boundary: str, own: bool
) -> None:
    settings = LatticeSettings.model_validate(
        {
            "dimensions": dimensions,
            "adaptive_radius_ratio": ratio / 100,
            "axis": axis,
            "boundary": boundary,
            "self_edges": own,
        }
    )
    steps = crossing_steps(settings)
    assert steps == _steps_over_edges(settings)
    if boundary == "open":
        assert steps == math.ceil((dimensions[axis] - 1) / reach(settings)["all"])


@pytest.mark.parametrize(
    ("dimensions", "axis", "steps"),
    [((8, 8, 8), 0, 7), ((8, 8, 12), 0, 4), ((8, 8, 12), 2, 6), ((15, 15, 15), 0, 5)],
)
def test_crossing_steps_closed_form(
    dimensions: tuple[int, int, int], axis: int, steps: int
) -> None:
    assert crossing_steps(LatticeSettings(dimensions=dimensions, axis=axis)) == steps


@pytest.mark.parametrize("surface", ["all_faces", "volume"])
def test_crossing_steps_same_for_other_surfaces(surface: str) -> None:
    assert crossing_steps(LatticeSettings.model_validate({"surface": surface})) == 7


def test_crossing_periodic_wraps_to_the_back_in_one_step() -> None:
    assert crossing_steps(LatticeSettings(boundary="periodic")) == 1


@pytest.mark.parametrize("own", [True, False])
def test_crossing_steps_none_when_nothing_moves(own: bool) -> None:
    settings = LatticeSettings(adaptive_radius_min=0.1, adaptive_radius_max=0.9, self_edges=own)
    assert crossing_steps(settings) is None
    assert reach(settings) == {"local": 0, "functional": 0, "distant": 0, "all": 0}


def test_reach_per_type_along_the_depth_axis() -> None:
    settings = LatticeSettings(dimensions=(3, 50, 50), axis=0)
    assert reach(settings) == {"local": 1, "functional": 2, "distant": 2, "all": 2}
    deep = settings.model_copy(update={"axis": 1})
    assert reach(deep) == {"local": 1, "functional": 6, "distant": 10, "all": 10}
