"""Charts of an analysis by matplotlib, as SVG and PNG."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7a7a7a")
_TEXT = "#010203"  # replaced by the colour of the page's text
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "axes.facecolor": "none",
}
_MAP = "cividis"


def draw(result: Mapping[str, Any]) -> dict[str, bytes]:
    """Every chart as SVG and PNG, by file name; the same result gives the same bytes.

    Args:
        result: as in ``analysis.json``.
    """
    import matplotlib as mpl

    files: dict[str, bytes] = {}
    with mpl.rc_context(_SETTINGS):
        for name, make in _CHARTS.items():
            figure = make(result)
            if figure is None:
                continue
            with mpl.rc_context({"svg.hashsalt": name}):
                svg = _saved(figure, "svg", "none")
            files[f"{name}.svg"] = svg.replace(_TEXT.encode(), b"currentColor")
            files[f"{name}.png"] = _saved(figure, "png", "white")
    return files


def _twins(result: Mapping[str, Any]) -> Figure:
    """Every statistic beside those of untrained lattices."""
    section = result["sections"]["training"]
    twins = section["data"]["twins"]
    names = [name for name in section["findings"] if name != "specialisation"]
    figure = _figure(7.2, 0.4 + 1.3 * -(-len(names) // 2))
    for axes, name in zip(figure.subplots(-(-len(names) // 2), 2).flat, names, strict=False):
        found = section["findings"][name]
        axes.plot([twin[name] for twin in twins], [0] * len(twins), "|", color=COLOURS[6], ms=14)
        axes.plot(found["value"], 0, "o", color=COLOURS[0], ms=6)
        axes.set_title(_wrapped(found["title"], 52), fontsize=8)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.1)
        axes.locator_params(axis="x", nbins=5)
    return figure


def _lesions(result: Mapping[str, Any]) -> Figure:
    """Explained variance lost by every lesion, for three kinds of ablation."""
    rows = [r for r in result["sections"]["lesions"]["data"]["lesions"] if r["kind"] != "block"]
    parts = list(dict.fromkeys((row["kind"], row["part"]) for row in rows))
    figure = _figure(7.2, 1.0 + 0.3 * len(parts))
    axes = figure.add_subplot()
    for number, how in enumerate(("zero", "mean", "resample")):
        some = [row for row in rows if row["ablation"] == how]
        places = [parts.index((row["kind"], row["part"])) + 0.22 * (number - 1) for row in some]
        values = np.array([row["value"] for row in some])
        ends = np.array([row["interval"] or [row["value"]] * 2 for row in some])
        error = np.abs(ends.T - values)
        axes.errorbar(
            values,
            places,
            xerr=error,
            fmt="osD"[number],
            ms=4,
            lw=1.2,
            color=COLOURS[number],
            label=how,
        )
    axes.axvline(0, color=_TEXT, linewidth=0.7)
    axes.set_xscale("symlog", linthresh=0.05)
    marks = (-1.0, -0.1, 0.0, 0.1, 1.0, 10.0)
    axes.set_xticks(marks, [f"{mark:g}" for mark in marks])
    axes.minorticks_off()
    all_ends = np.array([row["interval"] or [row["value"]] * 2 for row in rows])
    axes.set_xlim(min(-0.03, 1.5 * all_ends.min()), max(0.2, 1.5 * all_ends.max()))
    axes.set_yticks(range(len(parts)), [f"{kind} {part}" for kind, part in parts])
    axes.invert_yaxis()
    axes.set_xlabel("explained variance lost (share), 95% interval; linear up to 0.05, then log")
    axes.legend(title="ablation", frameon=False, fontsize=8)
    return figure


def _use(result: Mapping[str, Any]) -> Figure | None:
    """Lesion curves: explained variance with some of the cells alone."""
    if "use" not in result["sections"]:
        return None
    data = result["sections"]["use"]["data"]
    figure = _figure(7.2, 2.8)
    axes = figure.add_subplot()
    names = {"own": "best for the class", "others": "best for other classes"}
    names |= {"magnitude": "largest variance", "random": "random"}
    for number, (name, title) in enumerate(names.items()):
        axes.plot(
            data["kept"], data[name], "osD^"[number] + "-", color=COLOURS[number], label=title
        )
    axes.axhline(data["whole"], color=COLOURS[6], ls="--", lw=1, label="all cells")
    axes.set_xscale("log", base=2)
    axes.set_xticks(data["kept"], [f"{100 * share:g}" for share in data["kept"]])
    axes.set(xlabel="cells that keep their text between steps (%)", ylabel="explained variance")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _layers(result: Mapping[str, Any]) -> Figure:
    """Tables of steps and planes."""
    data, flow = result["sections"]["layers"]["data"], result["sections"]["flow"]["data"]
    tables = {
        "similarity to the teacher (CKA)": data["cka_by_step_plane"],
        "participation ratio (directions)": data["participation_ratio_by_step_plane"],
        "information about the code (bits)": data["information_bits_by_step_plane"],
        "influence of the input (state per code)": flow["influence_by_step_plane"],
    }
    figure = _figure(7.2, 4.6)
    for axes, (title, table) in zip(figure.subplots(2, 2).flat, tables.items(), strict=True):
        values = np.array([[np.nan if v is None else v for v in row] for row in table], dtype=float)
        image = axes.imshow(values, cmap=_MAP, aspect="auto", origin="lower")
        axes.set(xlabel="plane, from the front (cells)", ylabel="after step", title=title)
        axes.title.set_fontsize(9)
        axes.set_yticks(range(len(table)) if len(table) < 12 else range(0, len(table), 4))
        figure.colorbar(image, ax=axes, fraction=0.05)
        if title.startswith("influence"):
            cone = np.array(flow["light_cone_by_step_plane"]) > 0
            edge = [int(row.nonzero()[0].max()) + 0.5 if row.any() else -0.5 for row in cone]
            ends = [(x, y) for step, x in enumerate(edge) for y in (step - 0.5, step + 0.5)]
            axes.plot(*zip(*ends, strict=True), color="white", lw=2, label="light cone")
            axes.legend(fontsize=7, loc="lower right", labelcolor="white", framealpha=0)
    return figure


def _bias(result: Mapping[str, Any]) -> Figure:
    """Dimension of the back face for fewer samples, and information at a lag."""
    data, flow = result["sections"]["layers"]["data"], result["sections"]["flow"]["data"]
    figure = _figure(7.2, 2.8)
    left, right = figure.subplots(1, 2)
    rows = data["bias_curve_face"]
    for number, name in enumerate(("participation_ratio", "entropy_rank")):
        left.plot(
            [row["samples"] for row in rows],
            [row[name] for row in rows],
            "os"[number] + "-",
            color=COLOURS[number],
            label=name.replace("_", " "),
        )
    left.set(xlabel="samples", ylabel="dimension of the back face (directions)")
    sizes = [row["samples"] for row in rows]
    left.set_xscale("log")
    left.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
    left.minorticks_off()
    left.legend(frameon=False, fontsize=8)
    for number, depth in enumerate(flow["depths"]):
        if depth in (
            flow["depths"][0],
            flow["depths"][len(flow["depths"]) // 2],
            flow["depths"][-1],
        ):
            row = flow["lagged_bits_by_plane_lag"][number]
            right.plot(
                range(len(row)), row, "o-", color=COLOURS[number % 6], label=f"plane {depth}"
            )
    right.set(xlabel="lag (steps)", ylabel="information with the front plane (bits)")
    right.legend(frameon=False, fontsize=8)
    return figure


def _similarity(result: Mapping[str, Any]) -> Figure:
    """Cosines between texts, at the teacher and at the back face, sorted by class."""
    data = result["sections"]["layers"]["data"]
    figure = _figure(7.2, 3.4)
    classes = data["similarity_classes"]
    borders = [i for i, (one, two) in enumerate(pairwise(classes)) if one != two]
    for axes, name in zip(figure.subplots(1, 2), ("teacher", "face"), strict=True):
        image = axes.imshow(data[f"similarity_{name}"], cmap="PuOr", vmin=-0.5, vmax=0.5)
        for border in borders:
            axes.axhline(border + 0.5, color=_TEXT, lw=0.6)
            axes.axvline(border + 0.5, color=_TEXT, lw=0.6)
        title = "back face" if name == "face" else name
        axes.set(title=title, xlabel="text, by class", ylabel="text, by class")
    figure.colorbar(
        image, ax=figure.axes, fraction=0.03, label="cosine of centred vectors", extend="both"
    )
    return figure


def _probes(result: Mapping[str, Any]) -> Figure:
    """Accuracy on classes and on the control task."""
    data = result["sections"]["probes"]["data"]
    rows = data["probes"]
    figure = _figure(7.2, 1.0 + 0.38 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True)
    for place, row in enumerate(rows):
        low, high = row["interval"]
        left.plot([low, high], [place, place], color=COLOURS[0], lw=1.4)
        left.plot(row["accuracy"], place, "o", color=COLOURS[0], label=None if place else "class")
        left.plot(row["control"], place, "D", color=COLOURS[1], label=None if place else "control")
        right.barh(place, row["bits_per_label"], color=COLOURS[0], height=0.5)
    left.axvline(data["chance"], color=COLOURS[6], lw=1, ls="--", label="chance")
    right.axvline(
        data["uniform_bits"],
        color=COLOURS[6],
        lw=1,
        ls="--",
    )
    left.set_yticks(range(len(rows)), [row["representation"] for row in rows])
    left.invert_yaxis()
    left.set_xlabel("balanced accuracy (share), 95% interval")
    right.set_xlabel("description length (bits per label); dashed: uniform code")
    left.legend(frameon=False, fontsize=7, loc="lower left")
    return figure


def _damage(result: Mapping[str, Any]) -> Figure:
    """Explained variance lost after cells were erased, per step."""
    data = result["sections"]["damage"]["data"]
    figure, trained = _figure(7.2, 2.8), data["trained_steps"]
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for number, (at, rows) in enumerate(data["recovery"].items()):
        # Where the whole model is at a loss, nothing can come back.
        rows = [r for r in rows if r["step"] <= trained or r["explained_variance"] > 0]
        steps, lost = ([row[name] for row in rows] for name in ("step", "lost"))
        left.plot(
            steps, lost, "os"[number % 2] + "-", color=COLOURS[number], label=f"after step {at}"
        )
        if rows[0]["interval"]:
            low, high = zip(*(row["interval"] for row in rows), strict=True)
            left.fill_between(steps, low, high, color=COLOURS[number], alpha=0.2)
    left.axvline(trained, color=COLOURS[6], ls="--", lw=1, label="trained steps")
    left.axhline(0, color=_TEXT, lw=0.6)
    left.set(xlabel="step of reading", ylabel="explained variance lost")
    left.locator_params(axis="x", integer=True)
    left.legend(frameon=False, fontsize=8, title="cells erased")
    if "wall" not in data:
        right.set_axis_off()
        return figure
    wall = data["wall"]
    names = ("none", "one_cell", "closed")
    right.bar(range(3), [wall["refitted"][name] for name in names], color=COLOURS[2], width=0.6)
    right.axhline(wall["components"], color=COLOURS[6], ls="--", lw=1, label="as many components")
    right.set_xticks(range(3), ["no wall", "one open cell", "closed"])
    right.set_ylabel("explained variance, readout refitted")
    right.legend(frameon=False, fontsize=7)
    return figure


_CHARTS: dict[str, Callable[[Mapping[str, Any]], Figure | None]] = {
    "training": _twins,
    "lesions": _lesions,
    "use": _use,
    "layers": _layers,
    "similarity": _similarity,
    "dimension_and_lag": _bias,
    "probes": _probes,
    "damage": _damage,
}


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _saved(figure: Figure, kind: str, ground: str) -> bytes:
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    figure.savefig(buffer, format=kind, dpi=150, metadata=metadata, facecolor=ground)
    return buffer.getvalue()


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width))
