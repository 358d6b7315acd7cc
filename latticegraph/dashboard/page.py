"""The page: one HTML file that needs nothing else, not even a script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from latticegraph.dashboard.cell_picture import layer_pictures
from latticegraph.dashboard.chart import Chart, draw, shown
from latticegraph.dashboard.health import Finding, findings
from latticegraph.dashboard.panels import (
    cube_charts,
    embedding_charts,
    expert_names,
    learning_charts,
    machine_charts,
)
from latticegraph.dashboard.run_history import RunHistory

STYLE = Path(__file__).with_name("page_files") / "page.css"
# Of all curves together, so that a page of many stays below 300 KB.
BYTES_OF_POINTS, BYTES_PER_POINT = 150_000, 12
MOST_POINTS, FEWEST_POINTS = 160, 24
LONGEST_TEXT, MOST_EXAMPLES = 240, 8
REFRESH = 10

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh}<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""


def render_page(runs: Sequence[RunHistory], written: str = "") -> str:
    """The whole page; it reloads itself only while one of the runs is being trained.

    Args:
        runs: at least one; several lie over each other in every chart.
        written: when the page was written, as text to show.
    """
    title = escape(", ".join(run.name for run in runs))
    going = any(run.state == "training" for run in runs)
    refresh = f'<meta http-equiv="refresh" content="{REFRESH}">\n' if going else ""
    note = f"Written {escape(written)}." if written else ""
    if going:
        note += f" The page loads itself again every {REFRESH} seconds while a run is trained."
    body = [f'<p class="soft">{note}</p>', _overview(runs), _health(runs)]
    groups = [
        ("Learning", learning_charts(runs)),
        ("Inside the cube", cube_charts(runs)),
        ("Embeddings", embedding_charts(runs)),
        ("Machine", machine_charts(runs)),
    ]
    lines = sum(bool(line.points) for _, group in groups for one in group for line in one.lines)
    most = BYTES_OF_POINTS // BYTES_PER_POINT // max(lines, 1)
    most = max(FEWEST_POINTS, min(MOST_POINTS, most))
    for head, charts in groups:
        body.append(_charts(head, charts, most))
        if head == "Inside the cube":
            body += [_cells(run, len(runs) > 1) for run in runs]
    body += [_examples(run, len(runs) > 1) for run in runs]
    style = STYLE.read_text(encoding="utf-8")
    return _PAGE.format(refresh=refresh, title=title, style=style, body="\n".join(body))


def _overview(runs: Sequence[RunHistory]) -> str:
    heads = ("run", "state", "update", "cube", "best validation", "held out", "PCA", "loss")
    rows = []
    for run in runs:
        start, train = run.last("start"), run.last("train")
        explained = [value for _, value in run.curve("validation", "explained_variance")]
        total = f" of {run.total:,}" if run.total is not None else ""
        cube = "" if start is None else " x ".join(str(one) for one in start["dimensions"])
        scores: list[float | None] = [max(explained, default=None), None, None]
        if run.report is not None:
            scores[1] = run.report["student"]["explained_variance"]
            scores[2] = run.report.get("baselines", {}).get("pca", {}).get("explained_variance")
        cells = (
            run.name,
            run.state,
            f"{run.update:,}{total}",
            cube,
            *("" if score is None else f"{score:.3f}" for score in scores),
            "" if train is None else shown(train["losses"]["total"]),
        )
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    top = "".join(f"<th>{head}</th>" for head in heads)
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="soft">Best validation, held out and PCA are explained variances.</p>'
    )


def _health(runs: Sequence[RunHistory]) -> str:
    parts = ["<h2>Health</h2>"]
    for run in runs:
        if len(runs) > 1:
            parts.append(f"<h3>{escape(run.name)}</h3>")
        found = findings(run)
        parts += [_finding(one) for one in found]
        if not found:
            parts.append(
                '<p class="fine">No sign of divergence, collapse, a dead expert, a stalled loss or '
                "a plateau.</p>"
            )
    return "\n".join(parts)


def _finding(one: Finding) -> str:
    word = "warning" if one.level == "bad" else "note"
    return (
        f'<section class="{one.level}"><h4>{word}: {escape(one.name)}</h4>'
        f"<p><b>Seen:</b> {escape(one.seen)}.</p><p><b>It means:</b> {escape(one.meaning)}</p>"
        f"<p><b>What to do:</b> {escape(one.action)}.</p></section>"
    )


def _charts(head: str, charts: Sequence[Chart], most: int) -> str:
    drawn = [draw(chart, most) for chart in charts if any(line.points for line in chart.lines)]
    if not drawn:
        return ""
    return f'<h2>{head}</h2>\n<div class="charts">\n{chr(10).join(drawn)}\n</div>'


def _cells(run: RunHistory, several: bool) -> str:
    record = run.last("cube")
    if record is None:
        return ""
    names = expert_names(run)
    legend = "".join(
        f'<li><i class="k{place % 8}"></i>{escape(name)}</li>' for place, name in enumerate(names)
    )
    which = f"{escape(run.name)}: t" if several else "T"
    return (
        f"<h3>{which}he expert that each cell uses most</h3>"
        '<p class="soft">A square is a cell, a picture a layer of the cube, the front face first; '
        f"mean over steps and {record['samples']} validation texts at update "
        f"{record['update']:,}. The paler, the less it stands out.</p>"
        f"<ul>{legend}</ul>{layer_pictures(record['cells'], names)}"
    )


def _examples(run: RunHistory, several: bool) -> str:
    record = run.last("examples")
    if record is None:
        return ""
    rows = "".join(
        f"<tr><td>{_text(one['target'])}</td><td>{_text(one['decoded'])}</td>"
        f"<td>{one['cosine']:.3f}</td></tr>"
        for one in record["examples"][:MOST_EXAMPLES]
    )
    which = f"{escape(run.name)}: s" if several else "S"
    return (
        f"<h2>{which}ample decodings</h2>"
        '<p class="soft">Validation texts, and the known text nearest to the prediction, at update '
        f'{record["update"]:,}.</p><div class="wide"><table class="texts"><thead><tr>'
        "<th>target</th>"
        f"<th>nearest to the prediction</th><th>cosine</th></tr></thead><tbody>{rows}</tbody>"
        "</table></div>"
    )


def _text(text: str) -> str:
    """On one line, without characters that HTML forbids."""
    line = " ".join(text.split())
    line = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", line)
    return escape(line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…")
