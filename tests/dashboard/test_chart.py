from __future__ import annotations

import re
import zlib

import pytest

from latticegraph.dashboard.cell_picture import PALE, RGB, SYMBOLS, layer_pictures, png
from latticegraph.dashboard.chart import (
    BOTTOM,
    HEIGHT,
    LEFT,
    TOP,
    WIDTH,
    Chart,
    Line,
    draw,
    thinned,
    tick_texts,
    ticks,
)
from latticegraph.training import cube_monitor


def coordinates(svg):
    return [
        [tuple(map(float, pair.split(","))) for pair in points.split()]
        for points in re.findall(r'<polyline[^>]* points="([^"]+)"', svg)
    ]


def test_curve_lies_where_its_numbers_say():
    line = Line("a & b", [(0.0, 1.0), (50.0, 3.0), (100.0, 2.0)], colour=2, dash=1)
    svg = draw(Chart("title", "update", "loss", [line, Line("empty", [])]), 100)
    ((first, top, last),) = coordinates(svg)
    assert (first[0], last[0]) == (LEFT, WIDTH - 10)
    assert top[0] == pytest.approx((first[0] + last[0]) / 2, abs=0.06)
    assert last[1] == pytest.approx((first[1] + top[1]) / 2, abs=0.11)
    assert TOP < top[1] < first[1] < HEIGHT - BOTTOM
    assert 'class="c2 d1"' in svg
    assert "a &amp; b <b>2</b>" in svg
    assert "empty" not in svg


def test_logarithmic_axis_has_equal_steps_for_equal_factors():
    line = Line("a", [(0.0, 0.01), (1.0, 1.0), (2.0, 100.0)])
    (low, middle, high) = coordinates(draw(Chart("t", "x", "y", [line], True), 9))[0]
    assert low[1] - middle[1] == pytest.approx(middle[1] - high[1], abs=0.11)
    flat = coordinates(draw(Chart("t", "x", "y", [Line("a", [(0.0, 0.0), (1.0, 9.0)])], True), 9))
    assert len(flat[0]) == 2


@pytest.mark.parametrize("points", [[(3.0, 5.0)], [(0.0, 0.0), (1.0, 0.0)], [(5.0, 1e-9)]])
def test_single_points_and_constant_curves_are_drawn(points):
    svg = draw(Chart("t", "x", "y", [Line("a", points)]), 9)
    assert ("<circle" in svg) == (len(points) == 1)
    assert "nan" not in svg


def test_thinning_keeps_ends_and_peaks():
    points = [(float(x), 0.0) for x in range(5000)]
    points[1234], points[4000] = (1234.0, 7.0), (4000.0, -3.0)
    kept = thinned(points, 100)
    assert len(kept) <= 101
    assert {points[1234], points[4000], points[-1]} <= set(kept)
    assert kept == sorted(kept)
    assert thinned(points[:50], 100) == points[:50]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 11), (0.6131, 0.6149), (0, 123456)])
def test_ticks_are_round_and_inside(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 9
    assert all(low <= tick <= high or tick == pytest.approx(low) for tick in found)
    assert len(set(tick_texts(found))) == len(found)


def test_pictures_have_a_pixel_per_cell_in_the_expert_s_colour():
    picture = png(2, 1, [(1, 2, 3), (4, 5, 6)], b"\x01\x00")
    assert picture[16:24] == b"\0\0\0\2\0\0\0\1"
    start = picture.index(b"IDAT") + 4
    assert zlib.decompress(picture[start:-16]) == b"\0\x01\x00"
    cells = {"layers": [0, 7], "rows": [0], "columns": [0, 1], "experts": ["01", "11"]}
    html = layer_pictures(cells | {"shares": ["90", "99"]}, ["near", "<far>"])
    assert html.count("<img") == 2
    assert 'alt="layer 0: near 50%, &lt;far&gt; 50%"' in html
    assert SYMBOLS == cube_monitor.SYMBOLS
    assert len(set(RGB)) == 8
    assert PALE not in RGB
