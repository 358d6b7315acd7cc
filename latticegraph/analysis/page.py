"""The analysis as a page: summary, pictures, and every number with its null and interval."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from latticegraph.analysis.figures import draw
from latticegraph.analysis.notes import CHARTS, NOTES
from latticegraph.analysis.volumes import panels
from latticegraph.errors import ConfigError
from latticegraph.evaluation.charts import inline_svg
from latticegraph.files import write_bytes, write_text

PAGE, LIBRARY, CHART_FOLDER = "analysis.html", "plotly.min.js", "charts"

_HTML = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; --back: #ffffff; --text: #1c1c1c; --soft: #5a5a5a;
  --line: #d5d5d5; --card: #f6f6f6; }}
@media (prefers-color-scheme: dark) {{ :root {{ --back: #16181b; --text: #e6e6e6;
  --soft: #a9adb3; --line: #3a3e44; --card: #1e2125; }} }}
* {{ box-sizing: border-box; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 76em; margin: 0 auto; padding: 1em;
  background: var(--back); color: var(--text); }}
h1 {{ font-size: 1.5em; }} h2 {{ font-size: 1.2em; margin-top: 2em; }}
ul.summary {{ background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: .8em 1em .8em 2em; }}
p.note, figcaption {{ color: var(--soft); max-width: 60em; }}
.panels {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30em), 1fr));
  gap: 1em; }}
figure {{ margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: .6em;
  min-width: 0; overflow: hidden; }}
figure h3 {{ font-size: .95em; margin: 0 0 .3em; overflow-wrap: anywhere; }}
.wide svg {{ width: 100%; max-width: 52em; min-width: 36em; height: auto; }}
.plot {{ width: 100%; height: 420px; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .9em; }}
th, td {{ padding: .25em .7em; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: top; }}
td:not(:first-child) {{ white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; min-width: 14em; }}
</style>
<script src="{library}"></script>
</head>
<body>
<h1>{title}</h1>
<p class="note">{about}</p>
<ul class="summary">
{summary}
</ul>
{body}
<script type="application/json" id="panels">{panels}</script>
<script>
"use strict";
const figures = JSON.parse(document.getElementById("panels").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
function colours() {{
  const text = dark.matches ? "#e6e6e6" : "#1c1c1c", line = dark.matches ? "#4a4f57" : "#d5d5d5";
  const axis = {{gridcolor: line, zerolinecolor: line, color: text,
    backgroundcolor: "rgba(0,0,0,0)"}};
  const found = {{"font.color": text}};
  for (const name of ["xaxis", "yaxis", "zaxis"])
    for (const key in axis) found["scene." + name + "." + key] = axis[key];
  return found;
}}
async function show() {{
  for (const place of document.querySelectorAll(".plot")) {{
    const one = figures[place.dataset.panel], eye = one.layout.scene.camera.eye;
    const away = Math.max(1, 520 / place.clientWidth);  // in a narrow panel, from farther off
    for (const axis in eye) eye[axis] *= away;
    for (const part of [one, ...one.frames]) part.data[0].marker.size /= away;
    await Plotly.newPlot(place, one.data, one.layout, {{responsive: true, displaylogo: false,
      displayModeBar: false}});
    if (one.frames.length > 1) await Plotly.addFrames(place, one.frames);
    await Plotly.relayout(place, colours());
  }}
  document.body.dataset.ready = "yes";
}}
dark.addEventListener("change", () => document.querySelectorAll(".plot").forEach(
  (place) => Plotly.relayout(place, colours())));
show();
</script>
</body>
</html>
"""


def check_plotly() -> None:
    """Check that the package for the pictures in three dimensions is there.

    Raises:
        ConfigError: it is missing.
    """
    from importlib.util import find_spec

    if find_spec("plotly") is None:
        raise ConfigError(
            "plotly",
            "expected the package plotly for the pictures of the analysis, got none",
            "Install the extra: pip install 'latticegraph[analysis]'",
        )


def write_page(folder: Path, result: Mapping[str, Any]) -> None:
    """Write ``analysis.html``, its charts (SVG and PNG), and one copy of plotly beside it.

    Args:
        folder: of the result.
        result: as in ``analysis.json``.

    Raises:
        ConfigError: a file cannot be written.
    """
    from plotly.offline import get_plotlyjs

    charts = draw(result)
    for name, content in charts.items():
        write_bytes(folder / CHART_FOLDER / name, content, "--out")
    write_text(folder / LIBRARY, get_plotlyjs(), "--out")
    write_text(folder / PAGE, render(result, charts), "--out")


def render(result: Mapping[str, Any], charts: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        result: as in ``analysis.json``.
        charts: of :func:`~latticegraph.analysis.figures.draw`.
    """
    figures = panels(result)
    names = list(figures)
    body: list[str] = []
    for name, section in result["sections"].items():
        body.append(f"<h2>{escape(section['title'])}</h2>")
        body.append(f'<p class="note">{escape(NOTES[name].text)}</p>')
        chosen = (
            [p for p in names if p.startswith(NOTES[name].panels)] if NOTES[name].panels else []
        )
        if chosen:
            body += [
                '<div class="panels">',
                *(_panel(one, names.index(one)) for one in chosen),
                "</div>",
            ]
        body += [
            f'<figure class="wide">{inline_svg(charts[f"{chart}.svg"])}'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
            for chart, (place, caption) in CHARTS.items()
            if place == name and f"{chart}.svg" in charts
        ]
        body += _table(section["findings"])
    text = result["text"]
    about = (
        f"{' x '.join(str(side) for side in result['lattice']['dimensions'])} cells, "
        f"{result['lattice']['steps']} steps; {text['samples']} texts in {text['groups']} groups: "
        + ", ".join(f"{count} {name}" for name, count in text["classes"].items())
        + f". {text['origin']} Intervals are 95% over groups of text; p-values below "
        f"{result['level']} count as measurable."
    )
    # A closing tag inside a text would end the script.
    data = json.dumps(list(figures.values()), ensure_ascii=False, allow_nan=False)
    return _HTML.format(
        title=f"Analysis of {escape(result['run'])}",
        about=escape(about),
        library=LIBRARY,
        summary="\n".join(f"<li>{escape(line)}</li>" for line in result["summary"]),
        body="\n".join(body),
        panels=data.replace("<", "\\u003c"),
    )


def _panel(name: str, number: int) -> str:
    return (
        f'<figure><h3>{escape(name)}</h3><div class="plot" data-panel="{number}" '
        f'role="img" aria-label="{escape(name)}"></div></figure>'
    )


def _table(findings: Mapping[str, Any]) -> list[str]:
    if not findings:
        return []
    heads = ("", "value", "95% interval", "chance", "chance gives", "p")
    lines = ['<div class="wide"><table>', _row(heads, "th")]
    for found in findings.values():
        nulls = found["nulls"] or [None]
        for number, null in enumerate(nulls):
            first = number == 0
            interval = found["interval"] if first else None
            lines.append(
                _row(
                    (
                        found["title"] if first else "",
                        _number(found["value"]) if first else "",
                        "" if interval is None else " to ".join(map(_number, interval)),
                        "" if null is None else null["kind"],
                        ""
                        if null is None
                        else f"{_number(null['low'])} to {_number(null['high'])}",
                        "" if null is None else f"{null['p_value']:.3g}",
                    ),
                    "td",
                )
            )
    return [*lines, "</table></div>"]


def _row(cells: Sequence[str], kind: str) -> str:
    return "<tr>" + "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in cells) + "</tr>"


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"
