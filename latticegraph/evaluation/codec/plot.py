"""Quality against bits, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latticegraph.errors import ConfigError
from latticegraph.evaluation.codec.text import COLUMNS, STUDENT
from latticegraph.files import advice, replace_file

# Okabe and Ito (2008): told apart with every common kind of colour blindness; black is the student.
_COLOURS = ("#E69F00", "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
_MARKERS = "sDv^PX"
_PANELS = ("explained_variance", "recall_at_10")


def draw_codecs(rows: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw explained variance and Recall@10 against bits per text, a line per codec.

    Args:
        rows: of :func:`~latticegraph.evaluation.codec.table.measure_codecs`.
        folder: where ``codec.svg`` and ``codec.png`` are written.

    Returns:
        Both paths.

    Raises:
        ConfigError: when a file cannot be written.
    """
    # An extra, and most of a second to import.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.8), layout="constrained")
    done = [row for row in rows if "reason" not in row]
    for axes, key in zip(figure.subplots(1, 2), _PANELS, strict=True):
        _lines(axes, done, key)
        bits = sorted({8 * row["bytes"] for row in done})
        axes.set_xscale("log", base=2)
        axes.set_xticks(bits, [str(count) for count in bits], rotation=45)
        axes.set_xticks([], minor=True)
        axes.set_xlabel("size of a stored code (bits per text)")
        axes.set_ylabel(f"{COLUMNS[key]} (share, 1 is the teacher)")
        axes.grid(alpha=0.3)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    paths = [folder / "codec.svg", folder / "codec.png"]
    # Without salt and date the same rows give the same file.
    with mpl.rc_context({"svg.hashsalt": "codec", "svg.fonttype": "none"}):
        for path in paths:
            _save(figure, path)
    return paths


def _lines(axes: Any, rows: Sequence[Mapping[str, Any]], key: str) -> None:
    names = list(dict.fromkeys(row["codec"] for row in rows))
    others = [name for name in names if name not in STUDENT]
    for name in names:
        own = sorted((row for row in rows if row["codec"] == name), key=lambda row: row["bytes"])
        place = others.index(name) % len(_COLOURS) if name in others else 0
        axes.plot(
            [8 * row["bytes"] for row in own],
            [row[key] for row in own],
            color=_COLOURS[place] if name in others else "black",
            marker=_MARKERS[place] if name in others else "o",
            linestyle="-" if name in others or name == "student" else "--",
            linewidth=1.5 if name in others else 2.5,
            label=own[0]["title"],
        )


def _save(figure: Any, path: Path) -> None:
    kind = path.suffix[1:]
    metadata = {"Date": None} if kind == "svg" else {}
    try:
        replace_file(
            path,
            lambda temporary: figure.savefig(temporary, format=kind, dpi=150, metadata=metadata),
        )
    except OSError as error:
        raise ConfigError(
            "--codec-dir",
            f"expected to write '{path}', got: {error.strerror or error}",
            advice(error),
        ) from error
