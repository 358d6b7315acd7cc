"""Rows of a CSV or TSV file, whose header names the fields of JSONL."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latticegraph.data.lines import decoded_lines, kind_of
from latticegraph.errors import DataError


def table_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every row as a mapping, with the number of its last line.

    Args:
        path: UTF-8 file. ``.csv``: commas, and quotes around what holds one; ``.tsv``: tabs, and
            quotes are text.

    Raises:
        DataError: the file cannot be read, is not UTF-8, or a row does not fit the header.
    """
    if kind_of(path) == ".tsv":
        options: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    else:
        options = {"strict": True}
    reader = csv.reader((line for _, line in decoded_lines(path)), **options)
    header: list[str] = []
    try:
        for row in reader:
            if not header:
                header = [name.strip() for name in row]
            elif row:
                yield reader.line_num, _fitted(header, row, f"{path}:{reader.line_num}")
    except csv.Error as error:
        raise DataError(
            f"{path}:{reader.line_num}",
            f"expected rows of a table, got: {error}",
            "Correct that line, or set quotes around text that holds commas or quotes",
        ) from error
    if not header:
        raise DataError(
            str(path), "expected a header and rows, got an empty file", "Add text or leave it out"
        )


def _fitted(header: list[str], row: list[str], where: str) -> dict[str, Any]:
    if len(row) != len(header):
        raise DataError(
            where,
            f"expected {len(header)} columns ({', '.join(header)}), got {len(row)}",
            "Correct that line, or set quotes around text that holds commas or quotes",
        )
    return dict(zip(header, row, strict=True))
