"""The page in a real browser, opened as a file."""

from __future__ import annotations

import base64
import os
import re

import pytest

from latticegraph.dashboard import write_dashboard
from tests.browser import browser, needs_browser, show

__all__ = ["browser"]

SHOTS = os.environ.get("LATTICEGRAPH_SCREENSHOTS")


@pytest.fixture
def page(write_log):
    bad = {"explained": lambda done: 0.5 - 0.2 * done, "end": None}
    folders = [write_log("first"), write_log("a-second-run-with-a-long-name", **bad)]
    both = folders[1] / "both.html"
    return {"one": write_dashboard(folders[:1]), "two": write_dashboard(folders, both)}


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize(
    ("runs", "width", "scheme"),
    [
        ("one", 1280, "light"),
        ("one", 390, "dark"),
        ("two", 1280, "dark"),
        ("two", 390, "light"),
    ],
)
def test_every_panel_is_drawn_inside_the_window(browser, page, runs, width, scheme):
    show(browser, page[runs].as_uri(), width, scheme)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    figures = browser.find_elements("css selector", "figure")
    assert len(figures) == (21 if runs == "one" else 18)
    for figure in figures:
        box = figure.find_element("css selector", "svg").rect
        assert 250 < box["width"] <= width
        assert box["height"] > 120
        assert figure.find_elements("css selector", "polyline, circle")
    drawn = browser.execute_script(
        "return [...document.images].map(one => [one.naturalWidth, one.width])"
    )
    assert len(drawn) == (3 if runs == "one" else 6)
    assert all(natural == 4 and shown >= 100 for natural, shown in drawn)
    colours = browser.execute_script(
        "const of = (what, key) => getComputedStyle(document.querySelector(what))[key];"
        "return [of('body', 'backgroundColor'), of('body', 'color'), of('figure .c0', 'stroke')]"
    )
    ground, text, curve = (luminance(colour) for colour in colours)
    assert (ground > text) == (scheme == "light")
    assert contrast(ground, text) > 7
    assert contrast(ground, curve) > 3
    if SHOTS:
        picture = browser.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True, "format": "png"}
        )
        with open(f"{SHOTS}/{runs}-{width}-{scheme}.png", "wb") as file:  # noqa: PTH123
            file.write(base64.b64decode(picture["data"]))


def luminance(colour):
    """Relative luminance (WCAG 2.1)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first, second):
    low, high = sorted((first, second))
    return (high + 0.05) / (low + 0.05)
