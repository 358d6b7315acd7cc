"""Pictures of cells in three dimensions, with a slider over steps: one trace in every panel.

Legend: N cells, K classes, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

EXPERT_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
"""Okabe and Ito (2008): told apart with any form of colour blindness."""
DIVERGING = ((0.0, "#2166ac"), (0.5, "#d9d9d9"), (1.0, "#b35806"))
RISING = "Cividis"


def panels(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """All panels: figures as plotly's JSON, by name, in the order of the page.

    Args:
        result: as in ``analysis.json``.
    """
    cells = _Cells(result["lattice"])
    sections = result["sections"]
    data = sections["cells"]["data"]
    found: dict[str, dict[str, Any]] = {}
    experts = sections["experts"]["data"]
    steps = [f"{step}" for step in range(1, 1 + result["lattice"]["steps"])]
    for number, name in enumerate(data["classes"]):
        values = [row[number] for row in experts["dominant_by_step_class_cell"]]
        found[f"expert with the largest share: {name}"] = cells.figure(
            values, steps, _experts_scale(experts["experts"])
        )
    shown = [str(step) for step in data["steps"]]
    for number, name in enumerate(data["classes"]):
        values = [row[number] for row in data["selectivity_by_step_class_cell"]]
        size = max(0.01, float(np.abs(data["selectivity_by_step_class_cell"]).max()))
        scale = _scale("selectivity index (no unit)", DIVERGING, -size, size)
        found[f"selectivity for: {name}"] = cells.figure(values, shown, scale)
        if len(data["classes"]) == 2:
            break  # that of the other class is the same with the other sign
    accuracy = data["accuracy_by_step_cell"]
    scale = _scale("balanced accuracy (share)", RISING, 1 / len(data["classes"]), 1.0)
    found["accuracy of a linear probe in each cell"] = cells.figure(accuracy, shown, scale)
    moved = sections["flow"]["data"]["influence_by_step_cell"]
    with np.errstate(divide="ignore"):
        logs = np.log10(np.array(moved))
    logs = np.where(np.isfinite(logs), logs, np.nan)
    scale = _scale(
        "log10 of influence (state per code)",
        RISING,
        float(np.nanmin(logs)),
        float(np.nanmax(logs)),
    )
    every = [str(step) for step in range(len(moved))]
    found["influence of the input"] = cells.figure(_with_gaps(logs), every, scale)
    lesions = sections["lesions"]["data"]
    lost = np.array(lesions["lost_by_block"])[np.array(lesions["block_by_cell"])]
    size = max(1e-4, float(np.abs(lost).max()))
    scale = _scale("explained variance lost (share)", DIVERGING, -size, size)
    found["what the output loses without each block"] = cells.figure(
        [lost.tolist()], ["all"], scale
    )
    return found


class _Cells:
    """Places of the cells, depth drawn along the first axis."""

    def __init__(self, lattice: Mapping[str, Any]) -> None:
        places_N3 = np.array(lattice["coordinates"])
        depth = lattice["axis"]
        others = [axis for axis in range(3) if axis != depth]
        self._axes = [places_N3[:, axis].tolist() for axis in (depth, *others)]
        self._titles = ["depth (cells)", *(f"{'xyz'[axis]} (cells)" for axis in others)]
        sides = [lattice["dimensions"][axis] for axis in (depth, *others)]
        # Planes are drawn apart, so that the inner ones are seen.
        shape = np.array([2.0 * sides[0], sides[1], sides[2]]) / max(2.0 * sides[0], *sides[1:])
        self._shape = dict(zip("xyz", (2.0 * shape).round(3).tolist(), strict=True))
        self._size = float(np.clip(40 / len(places_N3) ** (1 / 3), 2.0, 7.0))

    def figure(
        self,
        values: Sequence[Sequence[float | None]],
        steps: Sequence[str],
        scale: Mapping[str, Any],
    ) -> dict[str, Any]:
        """One panel: values of all cells for every step.

        Args:
            values: for every step and cell; None is not coloured.
            steps: names of the steps.
            scale: the ``marker`` without its numbers.
        """
        x, y, z = self._axes
        hover = "depth %{x}, %{y}, %{z}: %{marker.color:.3g}<extra></extra>"
        trace = {
            "type": "scatter3d",
            "mode": "markers",
            "x": x,
            "y": y,
            "z": z,
            "hovertemplate": hover,
            "marker": {**scale, "size": self._size, "symbol": "square", "color": values[0]},
        }
        frames = [
            {"name": step, "data": [{"marker": {**trace["marker"], "color": value}}]}
            for step, value in zip(steps, values, strict=True)
        ]
        axes = {
            f"{letter}axis": {"title": {"text": title}, "nticks": 5}
            for letter, title in zip("xyz", self._titles, strict=True)
        }
        slide = {
            "steps": [
                {
                    "label": step,
                    "method": "animate",
                    "args": [
                        [step],
                        {"mode": "immediate", "frame": {"duration": 0, "redraw": True}},
                    ],
                }
                for step in steps
            ],
            "currentvalue": {"prefix": "after step "},
            "pad": {"t": 8, "l": 8, "r": 8, "b": 14},
        }
        layout = {
            "scene": {
                **axes,
                "aspectmode": "manual",
                "aspectratio": self._shape,
                "camera": {"eye": {"x": -1.5, "y": -2.3, "z": 1.1}},
            },
            "margin": {"l": 0, "r": 0, "t": 0, "b": 40},
            "height": 420,
            "paper_bgcolor": "rgba(0,0,0,0)",
            "sliders": [slide] if len(steps) > 1 else [],
        }
        return {"data": [trace], "layout": layout, "frames": frames}


def _scale(title: str, colours: Any, low: float, high: float) -> dict[str, Any]:
    bar = {"title": {"text": title, "side": "right"}, "thickness": 12, "len": 0.75}
    return {"colorscale": colours, "cmin": low, "cmax": high, "showscale": True, "colorbar": bar}


def _experts_scale(names: Sequence[str]) -> dict[str, Any]:
    """Steps of one colour for every expert."""
    count = len(names)
    colours = [EXPERT_COLOURS[index % len(EXPERT_COLOURS)] for index in range(count)]
    steps = [
        (edge, colour)
        for index, colour in enumerate(colours)
        for edge in (index / count, (index + 1) / count)
    ]
    scale = _scale("expert", steps, -0.5, count - 0.5)
    scale["colorbar"] |= {"tickvals": list(range(count)), "ticktext": list(names)}
    return scale


def _with_gaps(values: Any) -> list[list[float | None]]:
    return [
        [None if np.isnan(value) else round(float(value), 3) for value in row] for row in values
    ]
