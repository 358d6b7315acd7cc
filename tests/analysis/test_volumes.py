"""Panels in three dimensions: one trace each, a frame for every step, cells in their places."""

from __future__ import annotations

import importlib.util

import pytest

from latticegraph.analysis.page import check_plotly
from latticegraph.analysis.volumes import panels
from latticegraph.errors import ConfigError


def result(classes=("a", "b")):
    """Two cells behind each other along axis 1, two steps."""
    count = len(classes)
    by_class = [[[0, 1]] * count, [[1, 1]] * count]
    return {
        "lattice": {
            "dimensions": [1, 2, 1],
            "axis": 1,
            "steps": 2,
            "coordinates": [[0, 0, 0], [0, 1, 0]],
        },
        "sections": {
            "experts": {"data": {"experts": ["x", "y"], "dominant_by_step_class_cell": by_class}},
            "cells": {
                "data": {
                    "classes": list(classes),
                    "steps": [1, 2],
                    "selectivity_by_step_class_cell": [[[0.1, -0.3]] * count] * 2,
                    "accuracy_by_step_cell": [[0.5, 0.9], [0.6, 0.8]],
                }
            },
            "flow": {"data": {"influence_by_step_cell": [[1.0, 0.0], [1.0, 10.0], [1.0, 100.0]]}},
            "lesions": {"data": {"lost_by_block": [0.2, -0.1], "block_by_cell": [1, 0]}},
        },
    }


def test_every_panel_has_one_trace_and_a_frame_for_every_step():
    found = panels(result())
    assert list(found) == [
        "expert with the largest share: a",
        "expert with the largest share: b",
        "selectivity for: a",
        "accuracy of a linear probe in each cell",
        "influence of the input",
        "what the output loses without each block",
    ]
    assert [len(one["frames"]) for one in found.values()] == [2, 2, 2, 2, 3, 1]
    for one in found.values():
        (trace,) = one["data"]
        assert (trace["x"], trace["y"], trace["z"]) == ([0, 1], [0, 0], [0, 0])
        titles = [one["layout"]["scene"][f"{axis}axis"]["title"]["text"] for axis in "xyz"]
        assert titles == ["depth (cells)", "x (cells)", "z (cells)"]
        assert trace["marker"]["colorbar"]["title"]["text"]
        shown = [step["args"][0][0] for bar in one["layout"]["sliders"] for step in bar["steps"]]
        assert shown in ([], [frame["name"] for frame in one["frames"]])


def test_colours_are_the_values_of_the_cells():
    found = panels(result(("a", "b", "c")))
    assert "selectivity for: c" in found
    frames = found["influence of the input"]["frames"]
    colours = [frame["data"][0]["marker"]["color"] for frame in frames]
    assert colours == [[0.0, None], [0.0, 1.0], [0.0, 2.0]]  # an influence of 0 has no logarithm
    block = found["what the output loses without each block"]["data"][0]["marker"]
    assert block["color"] == [-0.1, 0.2]
    assert (block["cmin"], block["cmax"]) == (-0.2, 0.2)


def test_missing_plotly_is_named_with_its_extra(monkeypatch):
    check_plotly()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"expected the package plotly.*latticegraph\[analysis\]"):
        check_plotly()
