"""Charts and the HTML page: whole, self-contained, the same every time, and harmless."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from latticegraph.evaluation import render_markdown, verdicts, write_report
from latticegraph.evaluation.charts import draw_charts, inline_svg


class Page(HTMLParser):
    """Text, references and open elements of a page."""

    void = frozenset({"meta", "br", "img", "hr", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.references += [v or "" for k, v in attributes if k in ("src", "href", "xlink:href")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_charts_are_svg_and_png_and_repeat(report: dict[str, Any]) -> None:
    charts = draw_charts(report)
    assert sorted(charts) == ["curves.png", "curves.svg", "differences.png", "differences.svg"]
    assert charts == draw_charts(report)
    for name, content in charts.items():
        if name.endswith(".png"):
            assert content.startswith(b"\x89PNG")
        else:
            assert ElementTree.fromstring(content).tag.endswith("svg")
    shown = charts["differences.svg"].decode()
    for title in ("decoder network", "frozen lattice", "PCA", "retrained without lattice"):
        assert title in shown
    assert "lattice switched off" not in shown
    assert "explained variance, validation" in charts["curves.svg"].decode()


def test_report_without_curves_draws_none(report: dict[str, Any]) -> None:
    report["curves"] = {}
    assert sorted(draw_charts(report)) == ["differences.png", "differences.svg"]


def test_two_charts_on_one_page_share_no_id(report: dict[str, Any]) -> None:
    charts = draw_charts(report)
    ids = [
        set(re.findall(r'id="([^"]*)"', inline_svg(charts[name])))
        for name in ("curves.svg", "differences.svg")
    ]
    assert not ids[0] & ids[1]


def test_page_needs_no_other_file_and_says_what_the_markdown_says(
    tmp_path: Path, report: dict[str, Any]
) -> None:
    report["examples"][0]["source"] = "a <script>alert(1)</script> & \x00 b"
    write_report(tmp_path, report)
    page = Page()
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page.feed(text)
    assert page.open == []
    assert all(reference.startswith("#") for reference in page.references)
    assert text.count("<svg") == 2
    assert "<script" not in text
    assert "\x00" not in text
    for sentence in verdicts(report):
        assert sentence in page.text
    assert "a <script>alert(1)</script> & \ufffd b" in page.text


def test_markdown_shows_the_charts_that_lie_beside_it(
    tmp_path: Path, report: dict[str, Any]
) -> None:
    write_report(tmp_path, report)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^]]*\]\(([^)]*)\)", text)
    assert shown == ["charts/differences.svg", "charts/curves.svg"]
    assert all((tmp_path / path).is_file() for path in shown)
    assert "![" not in render_markdown(report)


def test_difference_without_an_interval_is_drawn_as_a_bar(report: dict[str, Any]) -> None:
    for row in report["attribution"].values():
        row["difference"] |= {"low": None, "high": None}
    assert b"<svg" in draw_charts(report)["differences.svg"]
