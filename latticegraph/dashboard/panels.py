"""Which curves the page shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from latticegraph.dashboard.chart import Chart, Line
from latticegraph.dashboard.run_history import Points, RunHistory

Runs = Sequence[RunHistory]


def learning_charts(runs: Runs) -> list[Chart]:
    """Scores, losses, gradients and rates over updates."""
    charts = [
        _simple(
            runs,
            "Explained variance, validation",
            "share",
            "validation",
            "explained_variance",
            about="1 is the teacher itself, 0 is always answering the mean.",
        ),
        _simple(runs, "Training loss", "loss", "train", "losses", "total", logarithmic=True),
        _simple(runs, "Recall@1, validation", "share of texts", "validation", "recall_at_1"),
    ]
    if len(runs) == 1:
        charts += _details(runs[0])
    charts += [
        _simple(
            runs,
            "Norm of the gradient",
            "norm, before clipping",
            "train",
            "grad_norm",
            "total",
            logarithmic=True,
        ),
        _simple(runs, "Learning rate", "rate", "train", "learning_rate"),
    ]
    return charts


def _details(run: RunHistory) -> list[Chart]:
    """What would hide itself where several runs lie over each other."""
    terms = [name for name in _keys(run, "train", "losses") if name != "total"]
    parts = [name for name in _keys(run, "train", "grad_norm") if name != "total"]
    return [
        _by_name(run, "Loss terms, before their weights", "loss", ("train", "losses"), terms, True),
        _by_name(
            run,
            "Share of each term in the gradient",
            "share",
            ("train", "gradient_shares"),
            _keys(run, "train", "gradient_shares"),
        ),
        _by_name(
            run,
            "Gradient of each component",
            "norm, before clipping",
            ("train", "grad_norm"),
            parts,
            True,
        ),
    ]


def cube_charts(runs: Runs) -> list[Chart]:
    """Experts, gates and states."""
    return [
        Chart(
            "Use of each expert, validation",
            "update",
            "mean gate",
            _experts(runs, lambda run, name: run.curve("validation", "usage", name)),
            about="Below 0.02 an expert counts as dead.",
        ),
        Chart(
            "Use by depth, latest validation",
            "layer, from the front",
            "mean gate",
            _experts(runs, lambda run, name: _latest(run, "depth_usage", name, 0)),
        ),
        Chart(
            "Use by step, latest validation",
            "step",
            "mean gate",
            _experts(runs, lambda run, name: _latest(run, "step_usage", name, 1)),
        ),
        Chart(
            "Entropy of a gate by step, latest validation",
            "step",
            "entropy / log(experts)",
            _each(runs, lambda run: _latest(run, "gate_entropy", None, 1)),
            about="0: every cell uses one expert for a text; 1: all alike.",
        ),
        Chart(
            "Size of the states, latest validation",
            "step",
            "root mean square",
            _each(runs, lambda run: _latest(run, "state_norm", None, 0)),
            logarithmic=True,
        ),
        Chart(
            "Change of the states, latest validation",
            "step",
            "relative change",
            _each(runs, lambda run: _latest(run, "change", None, 1)),
            logarithmic=True,
        ),
    ]


def embedding_charts(runs: Runs) -> list[Chart]:
    """Spread of the predictions beside that of their targets."""
    spread = ("validation", "spread")
    return [
        _beside(
            runs,
            "Directions in which embeddings vary",
            "effective rank",
            ((*spread, "effective_rank"), (*spread, "target_effective_rank")),
            "Far below the teacher's the predictions have collapsed onto few directions.",
        ),
        _beside(
            runs,
            "Cosine of two different texts",
            "mean cosine",
            ((*spread, "pairwise_cosine"), (*spread, "target_pairwise_cosine")),
            "Near 1 all predictions point the same way.",
        ),
        _simple(
            runs,
            "Spread of predictions / of targets",
            "ratio",
            "validation",
            "prediction_std_ratio",
        ),
        _simple(runs, "Length of predictions", "mean norm", "validation", "embedding_norm"),
    ]


def machine_charts(runs: Runs) -> list[Chart]:
    """Speed and memory."""
    return [
        _simple(runs, "Throughput", "samples / s", "train", "samples_per_second"),
        _simple(runs, "Time of a lattice step", "ms", "train", "ms_per_step"),
        _simple(runs, "Largest memory so far", "MB", "train", "peak_memory_mb"),
    ]


def _simple(
    runs: Runs, title: str, up: str, *path: str, logarithmic: bool = False, about: str = ""
) -> Chart:
    """One curve per run, each in a colour of its own."""
    lines = _each(runs, lambda run: run.curve(*path))
    return Chart(title, "update", up, lines, logarithmic, about)


def _by_name(
    run: RunHistory,
    title: str,
    up: str,
    path: tuple[str, ...],
    names: Sequence[str],
    logarithmic: bool = False,
) -> Chart:
    lines = [
        Line(name, run.curve(*path, name), place, place // 8) for place, name in enumerate(names)
    ]
    return Chart(title, "update", up, lines, logarithmic)


def _beside(
    runs: Runs, title: str, up: str, paths: tuple[tuple[str, ...], tuple[str, ...]], about: str
) -> Chart:
    """The predictions of every run, solid, and their targets, dashed."""
    own, target = paths
    lines = []
    for place, run in enumerate(runs):
        which = "" if len(runs) == 1 else f"{run.name}: "
        lines.append(Line(f"{which}predictions", run.curve(*own), place))
        lines.append(Line(f"{which}teacher", run.curve(*target), place, 1))
    return Chart(title, "update", up, lines, about=about)


def _each(runs: Runs, points: Callable[[RunHistory], Points]) -> list[Line]:
    return [Line(run.name, points(run), place) for place, run in enumerate(runs)]


def _experts(runs: Runs, points: Callable[[RunHistory, str], Points]) -> list[Line]:
    """A colour per expert, and a pattern per run."""
    lines = []
    for dash, run in enumerate(runs):
        which = "" if len(runs) == 1 else f"{run.name}: "
        for colour, name in enumerate(expert_names(run)):
            lines.append(Line(f"{which}{name}", points(run, name), colour, dash))
    return lines


def expert_names(run: RunHistory) -> list[str]:
    """Names of the experts of a run, in the order of the model."""
    start = run.last("start")
    return list(start["experts"]) if start is not None else _keys(run, "validation", "usage")


def _latest(run: RunHistory, key: str, name: str | None, first: int) -> Points:
    """A list of the latest record of the cube by its places, from ``first``."""
    record = run.last("cube")
    if record is None:
        return []
    values = record[key] if name is None else record[key].get(name, [])
    return [(float(place), float(value)) for place, value in enumerate(values, start=first)]


def _keys(run: RunHistory, kind: str, group: str) -> list[str]:
    """Names of a group in any record of a kind, in their order."""
    return list(dict.fromkeys(name for record in run.of(kind) for name in record.get(group, {})))
