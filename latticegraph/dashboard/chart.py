"""Line charts as SVG, small and without a library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from latticegraph.dashboard.run_history import Points

WIDTH, HEIGHT = 380, 210
LEFT, RIGHT, TOP, BOTTOM = 62, 10, 10, 36
COLOURS, DASHES = 8, 6
LOG_RATIO = 30.0


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        label: in the legend.
        points: x and y of each, x rising.
        colour: its place in the palette.
        dash: its pattern; 0: solid.
    """

    label: str
    points: Points
    colour: int = 0
    dash: int = 0


@dataclass(frozen=True)
class Chart:
    """Curves over one axis.

    Attributes:
        title: above it.
        across: label of the x axis.
        up: label of the y axis, with its unit.
        lines: the curves; those without points are left out.
        logarithmic: whether the y axis is, where the values span more than a factor of 30.
        about: one sentence for who does not know the quantity.
    """

    title: str
    across: str
    up: str
    lines: Sequence[Line]
    logarithmic: bool = False
    about: str = ""


def thinned(points: Points, most: int) -> Points:
    """At most about ``most`` points: the lowest and the highest of each stretch of equal length.

    Args:
        points: of a curve.
        most: at least 4.
    """
    if len(points) <= most:
        return points
    size = math.ceil(2 * len(points) / (most - 1))
    kept: Points = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        ends = {min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])}
        kept += sorted(ends)
    if kept[-1] != points[-1]:
        kept.append(points[-1])
    return kept


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers from ``low`` to ``high``, 1, 2 or 5 times a power of ten apart.

    Args:
        low: lowest value.
        high: highest value, above ``low``.
        about: how many.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.75)
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    return [round(step * (first + i), 12) for i in range(count)]


def shown(value: float) -> str:
    """A number for an axis or a legend.

    >>> shown(0.12345), shown(12345.0), shown(0.00002)
    ('0.123', '12,345', '2e-05')
    """
    size = abs(value)
    if size and size < 1e-3:
        return f"{value:.3g}"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def tick_texts(values: Sequence[float]) -> list[str]:
    """Numbers at an axis, with as many decimals as tell them apart.

    Args:
        values: rising.

    >>> tick_texts([571.5, 572.0, 572.5]), tick_texts([0.0, 500.0, 1000.0])
    (['571.5', '572.0', '572.5'], ['0', '500', '1,000'])
    """
    step = min((after - before for before, after in pairwise(values)), default=0.0)
    if not 1e-4 <= step < 1e6:
        return [shown(value) for value in values]
    decimals = max(0, math.ceil(-math.log10(step) - 1e-9))
    return [f"{value:,.{decimals}f}" for value in values]


def draw(chart: Chart, most: int) -> str:
    """A figure element: title, curves, and a legend with the latest value of each.

    Args:
        chart: with at least one line that has points.
        most: points of a line.
    """
    lines = [line for line in chart.lines if line.points]
    values = [y for line in lines for _, y in line.points]
    positive = min(values) > 0
    logarithmic = chart.logarithmic and positive and max(values) > LOG_RATIO * min(values)
    frame = _Frame.around(lines, logarithmic)
    parts = [_grid(chart, frame)]
    for line in lines:
        kept = thinned(line.points, most)
        place = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in kept)
        kind = f"c{line.colour % COLOURS} d{line.dash % DASHES}"
        if len(kept) == 1:
            x, y = place.split(",")
            parts.append(f'<circle class="c{line.colour % COLOURS}" cx="{x}" cy="{y}" r="3"/>')
        else:
            parts.append(f'<polyline class="{kind}" points="{place}"/>')
    about = f"<p>{escape(chart.about)}</p>" if chart.about else ""
    return (
        f"<figure><figcaption>{escape(chart.title)}</figcaption>{about}"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">'
        f"{''.join(parts)}</svg>{_legend(lines)}</figure>"
    )


@dataclass(frozen=True)
class _Frame:
    """Where values lie on the picture."""

    left: float
    right: float
    low: float
    high: float
    logarithmic: bool

    @classmethod
    def around(cls, lines: Sequence[Line], logarithmic: bool) -> _Frame:
        xs = [x for line in lines for x, _ in line.points]
        ys = [y for line in lines for _, y in line.points]
        if logarithmic:
            return cls(*_wide(min(xs), max(xs), 0.0), min(ys) / 1.2, max(ys) * 1.2, True)
        return cls(*_wide(min(xs), max(xs), 0.0), *_wide(min(ys), max(ys), 0.06), False)

    def x(self, value: float) -> float:
        share = (value - self.left) / (self.right - self.left)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def levels(self) -> list[float]:
        if not self.logarithmic:
            return ticks(self.low, self.high)
        first, last = math.log10(self.low), math.log10(self.high)
        step = max(1, round((last - first) / 4))
        return [10.0**n for n in range(math.ceil(first), math.floor(last) + 1, step)]


def _wide(low: float, high: float, margin: float) -> tuple[float, float]:
    """A range that is not empty, with a margin on both sides."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        half = 0.5 * abs(low) or 0.5
        return low - half, high + half
    return low - margin * (high - low), high + margin * (high - low)


def _grid(chart: Chart, frame: _Frame) -> str:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    levels = frame.levels()
    texts = [shown(value) for value in levels] if frame.logarithmic else tick_texts(levels)
    for value, text in zip(levels, texts, strict=True):
        y = f"{frame.y(value):.1f}"
        parts.append(f'<path class="g" d="M{LEFT} {y}H{right}"/>')
        parts.append(f'<text class="r" x="{LEFT - 5}" y="{y}" dy="4">{text}</text>')
    for value in ticks(frame.left, frame.right):
        if value == int(value):
            x = f"{frame.x(value):.1f}"
            parts.append(f'<text class="m" x="{x}" y="{bottom + 14}">{int(value):,}</text>')
    middle = (LEFT + right) / 2
    parts.append(f'<text class="m" x="{middle}" y="{HEIGHT - 6}">{escape(chart.across)}</text>')
    up = (TOP + bottom) / 2
    parts.append(
        f'<text class="m" transform="translate(11 {up}) rotate(-90)">{escape(chart.up)}</text>'
    )
    parts.append(f'<path class="a" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
    return "".join(parts)


def _legend(lines: Sequence[Line]) -> str:
    items = [
        f'<li><svg viewBox="0 0 26 8" aria-hidden="true"><path class="c{line.colour % COLOURS} '
        f'd{line.dash % DASHES}" d="M0 4H26"/></svg>{escape(line.label)} '
        f"<b>{shown(line.points[-1][1])}</b></li>"
        for line in lines
    ]
    return f"<ul>{''.join(items)}</ul>"
