"""Cost against the side of the cube, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latticegraph.errors import ConfigError
from latticegraph.files import replace_file

COLOURS = {
    "spmm": "C0",
    "fft": "C1",
    "scatter": "C2",
    "pyg_edge": "C3",
    "rgcn": "C4",
    "conv3d": "C5",
    "floor": "black",
}
PANELS = {"aggregation": ("aggregation",), "step": ("step", "train_step")}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw one panel for the sum alone and one for steps; both axes are logarithmic.

    Args:
        rows: as in the JSON.
        path: PNG to write.

    Raises:
        ConfigError: when the file cannot be written.
    """
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, (title, whats) in zip(panels, PANELS.items(), strict=True):
        for what in whats:
            _lines(axes, [row for row in rows if row["what"] == what])
        sides = sorted({row["cube"] for row in rows})
        axes.set(title=title, xlabel="side of the cube", xscale="log", yscale="log")
        axes.set_xticks(sides, [str(side) for side in sides], minor=False)
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    panels[0].set_ylabel("ns per cell, sample and step, forward + backward")
    try:
        replace_file(path, lambda temporary: figure.savefig(temporary, format="png", dpi=130))
    except OSError as error:
        raise ConfigError(
            "--plot",
            f"expected to write '{path}', got: {error.strerror or error}",
            "Free disk space, or choose a writable folder",
        ) from error


def _lines(axes: Axes, rows: list[dict[str, Any]]) -> None:
    for backend in dict.fromkeys(row["backend"] for row in rows):
        own = [row for row in rows if row["backend"] == backend and not row["oom"]]
        points = sorted((row["cube"], _cost(row)) for row in own)
        if not points:
            continue
        trained = own[0]["what"] == "train_step"
        axes.plot(
            *zip(*points, strict=True),
            marker="s" if trained else "o",
            linestyle="--" if trained else ":" if backend == "floor" else "-",
            color=COLOURS[backend.removesuffix("+compile")],
            fillstyle="none" if "+compile" in backend else "full",
            label=f"{backend}, training" if trained else backend,
        )


def _cost(row: dict[str, Any]) -> float:
    """Nanoseconds; a floor is that without sums over neighbours, the same thing on every cube."""
    cost: float = row["ns_per_cell"]
    dense: float | None = row.get("floor_dense_ms")
    return cost if dense is None else cost * dense / row["forward_backward_ms"]
