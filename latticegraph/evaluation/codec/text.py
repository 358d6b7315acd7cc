"""The codec table in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

COLUMNS = {
    "explained_variance": "explained variance",
    "recall_at_10": "recall@10",
    "cosine_spearman": "cosine rank corr.",
    "sts_spearman": "STS Spearman",
}
"""Heads of the values, by their key."""

LEVEL = 0.005
"""Values closer than this are called level."""


STUDENT = ("student", "student_refined")
"""Names of the rows that are the student's own."""


def codec_verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences that compare the student with the best other codec of at most as many bytes.

    Args:
        rows: of :func:`~latticegraph.evaluation.codec.table.measure_codecs`.

    Returns:
        One sentence per row of the student; none where no other codec fits into its bytes.
    """
    done = [row for row in rows if "reason" not in row]
    sentences = []
    for row in (row for row in done if row["codec"] in STUDENT):
        others = [
            other
            for other in done
            if other["codec"] not in STUDENT and other["bytes"] <= row["bytes"]
        ]
        if others:
            parts = [_against(row, others, key) for key in ("explained_variance", "recall_at_10")]
            sentences.append(f"{row['title']} at {row['bytes']} bytes: {'; '.join(parts)}.")
    return sentences


def codec_table(result: Mapping[str, Any]) -> Table:
    """The rows as a table for :class:`rich.console.Console`.

    Args:
        result: of ``measure_codec_run``: counts, rows and verdicts.
    """
    counts = result["counts"]
    title = (
        f"codecs, {counts['texts']:,} held-out texts ({counts['queries']:,} ask for neighbours, "
        f"{counts['pairs']:,} pairs ranked)"
    )
    caption = "\n".join([*result["verdicts"], *_missing(result["rows"])])
    table = Table(title=title, caption=caption, caption_justify="left")
    done = [row for row in result["rows"] if "reason" not in row]
    columns = [key for key in COLUMNS if any(key in row for row in done)]
    table.add_column("")
    table.add_column("stored as")
    for head in ("bytes", *(COLUMNS[key] for key in columns)):
        table.add_column(head, justify="right")
    for row in sorted(done, key=lambda row: -row["bytes"]):
        style = "bold" if row["codec"] in STUDENT else None
        values = [f"{row[key]:.3f}" for key in columns]
        table.add_row(row["title"], row["form"], str(row["bytes"]), *values, style=style)
    return table


def _against(row: Mapping[str, Any], others: Sequence[Mapping[str, Any]], key: str) -> str:
    best = max(others, key=lambda other: float(other[key]))
    mine, theirs = float(row[key]), float(best[key])
    if abs(mine - theirs) < LEVEL:
        relation = "level with"
    else:
        relation = "beats" if mine > theirs else "does not beat"
    opponent = f"{best['title']} in {best['bytes']} bytes"
    return f"{COLUMNS[key]} {mine:.3f} {relation} {opponent}, {theirs:.3f}"


def _missing(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        if "reason" in row:
            yield f"{row['title']} was not measured: {row['reason']}."
