"""docs/serving.md lists the routes, errors, options and metrics that there are."""

from __future__ import annotations

import re
from pathlib import Path

from latticegraph.arguments import parser
from latticegraph.serving.errors import MEANINGS
from latticegraph.serving.guard import OPEN
from latticegraph.serving.settings import ServeSettings, option

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


def rows(heading):
    """First cells and the rest of the rows of the first table below a heading."""
    part = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("|")]
    return found[2:]


def test_routes_are_those_of_openapi_and_the_page(make_app):
    listed = set(
        re.findall(r"(GET|POST) (/[\w/]*)", " ".join(cells[0] for cells in rows("Routes")))
    )
    made = make_app().openapi()["paths"]
    there = {(method.upper(), path) for path, methods in made.items() for method in methods}
    assert listed == there | {("GET", "/"), ("GET", "/docs")}


def test_errors_are_those_that_are_declared():
    assert {int(status): text for status, text in rows("Errors")} == MEANINGS


def test_options_have_the_defaults_of_the_command_and_of_the_settings():
    listed = {name.strip("`"): float(value.replace(",", "")) for name, value, _ in rows("Limits")}
    typed = parser().parse_args(["serve", "--model", "m"])
    fields = {
        name: field.default
        for name, field in ServeSettings.model_fields.items()
        if isinstance(field.default, int | float)
    }
    assert listed == {option(name): value for name, value in fields.items()}
    assert {name: getattr(typed, name) for name in fields} == fields


def test_metrics_are_those_of_the_registry(make_app):
    listed = set(
        re.findall(r"`(latticegraph_\w+)`", " ".join(cells[0] for cells in rows("Metrics")))
    )
    registry = make_app().state.service.metrics.registry
    there = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in registry.collect()
        if metric.name.startswith("latticegraph_")
    }
    assert listed == there


def test_routes_without_a_key_are_listed():
    part = PAGE.split("\n## Key and address\n")[1].split("need none")[0].split("body is read.")[1]
    listed = set(re.findall(r"`(/[\w.]*)`", part))
    assert listed == {path for path in OPEN if not path.startswith("/page")}
