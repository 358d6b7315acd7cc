"""The charts of a report: curves of the training, and differences with their intervals."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "charts"
_COLOURS = ("#1f5a99", "#c8553d", "#7a7a7a")
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_charts(report: Mapping[str, Any]) -> dict[str, bytes]:
    """Every chart as SVG and PNG; the same report gives the same bytes.

    Args:
        report: with ``rows``, ``differences``, ``attribution`` and, after a training, ``curves``.

    Returns:
        Content by file name: ``differences.svg``, ``differences.png``, and the same of ``curves``
        where there is one.
    """
    import matplotlib as mpl

    files: dict[str, bytes] = {}
    with mpl.rc_context(_SETTINGS):
        figures = {"differences": _differences(report)}
        if report["curves"]:
            figures["curves"] = _curves(report)
        for name, figure in figures.items():
            # Without a salt the ids are random, and those of two charts in one page could meet.
            with mpl.rc_context({"svg.hashsalt": name}):
                files[f"{name}.svg"] = _saved(figure, "svg")
            files[f"{name}.png"] = _saved(figure, "png")
    return files


def inline_svg(content: bytes) -> str:
    """An SVG file as an element of an HTML page: no header, and no ids that nothing refers to."""
    text = content.decode("utf-8")
    text = text[text.index("<svg") :]
    return re.sub(r'<g id="[^"]*"', "<g", text)


def _differences(report: Mapping[str, Any]) -> Figure:
    """A bar per row: explained variance of the student minus that of the row."""
    from matplotlib.figure import Figure

    found = {
        f"attribution.{name}": row["difference"] for name, row in report["attribution"].items()
    }
    for place in report["rows"]:
        # A constant by construction would stretch the axis and prove nothing.
        name = place.removeprefix("baselines.")
        if name in report["differences"] and name not in ("lattice_off", "mean", "identity"):
            found[place] = report["differences"][name]
    titles = [report["rows"][place] for place in found]
    values = [one["explained_variance"] for one in found.values()]
    figure = Figure(figsize=(7, 0.9 + 0.36 * len(found)), layout="constrained")
    axes = figure.add_subplot()
    colours = [_COLOURS[0] if value >= 0 else _COLOURS[1] for value in values]
    axes.barh(titles, values, color=colours, height=0.62, alpha=0.75)
    for height, one in enumerate(found.values()):
        if one["low"] is not None:
            axes.plot([one["low"], one["high"]], [height, height], color="black", linewidth=1.4)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("explained variance of the student minus that of the row, 95% interval")
    return figure


def _curves(report: Mapping[str, Any]) -> Figure:
    """Training loss, and explained variance on validation text, per epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, curve), colour in zip(report["curves"].items(), _COLOURS, strict=False):
        title = report["rows"].get(name) or report["rows"].get(f"attribution.{name}", name)
        for axes, key in ((left, "training_loss"), (right, "explained_variance")):
            epochs, values = zip(*curve[key], strict=True) if curve[key] else ((), ())
            axes.plot(epochs, values, color=colour, label=title, marker="o", markersize=2.5)
    left.set(xlabel="epoch", ylabel="training loss")
    right.set(xlabel="epoch", ylabel="explained variance, validation")
    right.legend(frameon=False, fontsize=8)
    return figure


def _saved(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()
