"""The report as one HTML page that needs no other file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from latticegraph.evaluation.charts import inline_svg
from latticegraph.evaluation.report_text import (
    EXPERT_COLUMNS,
    EXPERT_NOTE,
    example_lines,
    expert_rows,
    facts,
    how_to_read,
    numbers,
    table_rows,
)
from latticegraph.evaluation.verdicts import best_update, verdicts

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: .25em .8em; text-align: right; border-bottom: 1px solid #ddd; }}
th:first-child, td:first-child {{ text-align: left; }}
tr.student {{ font-weight: bold; }}
svg {{ max-width: 100%; height: auto; }}
p.how {{ color: #555; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def render_html(report: Mapping[str, Any], charts: Mapping[str, bytes]) -> str:
    """The whole report: verdicts, table, charts (inline SVG), facts and decoded sentences.

    Args:
        report: see :func:`~latticegraph.evaluation.report_text.render_markdown`.
        charts: of :func:`~latticegraph.evaluation.charts.draw_charts`.
    """
    body = _list([*verdicts(report), best_update(report)])
    body += _table(report)
    body += [inline_svg(content) for name, content in charts.items() if name.endswith(".svg")]
    body += [f'<p class="how">{escape(text)}</p>' for text in how_to_read(report) if text]
    if report["roles"]:
        body += ["<h2>Experts</h2>", *_experts(report)]
    body += ["<h2>The run</h2>", *_list([f"{name}: {value}" for name, value in facts(report)])]
    if report["examples"]:
        body.append("<h2>Decoded held-out sentences</h2>")
        for example in report["examples"]:
            body += _list([f"{name}: {_printable(text)}" for name, text in example_lines(example)])
    return _PAGE.format(title=f"Report of {escape(str(report['run']))}", body="\n".join(body))


def _list(lines: Sequence[str]) -> list[str]:
    return ["<ul>", *(f"<li>{escape(line)}</li>" for line in lines), "</ul>"]


def _table(report: Mapping[str, Any]) -> list[str]:
    heads = ["held out", *(column["title"] for column in report["metrics"].values())]
    lines = ["<table>", "<tr>" + "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr>"]
    for title, row in table_rows(report):
        kind = ' class="student"' if row is report["student"] else ""
        cells = [escape(title), *numbers(report, row)]
        lines.append(f"<tr{kind}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return [*lines, "</table>"]


def _experts(report: Mapping[str, Any]) -> list[str]:
    lines = [f'<p class="how">{escape(text)}</p>' for text in EXPERT_NOTE]
    lines += ["<table>", "<tr>" + "".join(f"<th>{head}</th>" for head in EXPERT_COLUMNS) + "</tr>"]
    for row in expert_rows(report):
        lines.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
    return [*lines, "</table>"]


def _printable(text: str) -> str:
    """Text on one line, without characters that HTML forbids."""
    return re.sub(
        r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", " ".join(text.split())
    )
