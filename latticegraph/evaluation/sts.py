"""STS-B: does the distance between embeddings still follow human judgement?

Legend: P pairs, D width.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import ArrayOrTensor, as_float64
from latticegraph.evaluation.ranking import unit_rows
from latticegraph.files import parse_json

_COLUMNS = ("sentence1", "sentence2", "score")


@dataclass(frozen=True)
class SimilarityPair:
    """Two sentences and how alike people found them (0 to 5 in STS-B; any scale works)."""

    first: str
    second: str
    score: float


def read_sts(path: str | Path) -> list[SimilarityPair]:
    """Read STS-B pairs from ``.tsv`` (a header names the columns) or ``.jsonl``.

    Args:
        path: UTF-8 file with the columns or keys sentence1, sentence2 and score; others are
            ignored.

    Raises:
        DataError: with file and line, for a missing file or column, a malformed line, or fewer than
            2 pairs.
    """
    path = Path(path)
    readers = {".tsv": _tsv_rows, ".jsonl": _jsonl_rows}
    if path.suffix not in readers:
        raise DataError(str(path), f"expected .tsv or .jsonl, got '{path.suffix}'", "Convert it")
    if not path.is_file():
        raise DataError(str(path), "expected a file, got nothing there", "Correct the path")
    try:
        pairs = [_pair(path, line, row) for line, row in readers[path.suffix](path)]
    except UnicodeDecodeError as error:
        raise DataError(
            str(path), f"expected UTF-8 text, got byte {error.start}", "Save it as UTF-8"
        ) from error
    if len(pairs) < 2:
        raise DataError(str(path), f"expected at least 2 pairs, got {len(pairs)}", "Add pairs")
    return pairs


def sts_spearman(path: str | Path, encode: Callable[[Sequence[str]], ArrayOrTensor]) -> float:
    """Spearman correlation of cosines with the human scores, in [-1, 1].

    Cosines are rounded to 9 decimals, so that equal embeddings tie; an encoder that gives every
    pair the same cosine ranks nothing and gets 0.

    Args:
        path: see :func:`read_sts`.
        encode: n texts to embeddings of shape [n, D]; called once with all sentences.

    Raises:
        DataError: for a malformed file, equal scores throughout, or embeddings of the wrong shape.
    """
    pairs = read_sts(path)
    scores_P = np.array([pair.score for pair in pairs])
    if np.ptp(scores_P) == 0:
        raise DataError(
            str(path), f"expected different scores, got only {scores_P[0]}", "Add pairs"
        )
    texts = [pair.first for pair in pairs] + [pair.second for pair in pairs]
    unit = unit_rows(as_float64("encode", encode(texts)))
    if len(unit) != len(texts):
        raise DataError(
            "encode",
            f"expected {len(texts)} embeddings, got {len(unit)}",
            "Return one row per text",
        )
    cosine_P = (unit[: len(pairs)] * unit[len(pairs) :]).sum(axis=1).round(9)
    if np.ptp(cosine_P) == 0:
        return 0.0
    # Takes most of a second to import, which a run without STS pairs need not wait for.
    from scipy.stats import spearmanr

    return float(spearmanr(cosine_P, scores_P).statistic)


def _tsv_rows(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        for row in reader:
            yield reader.line_num, dict(row)


def _jsonl_rows(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = parse_json(line)
            except ValueError as error:
                raise DataError(
                    f"{path}:{number}", f"expected JSON, got: {error}", "Correct that line"
                ) from error
            if not isinstance(row, dict):
                raise DataError(
                    f"{path}:{number}",
                    f"expected an object, got {type(row).__name__}",
                    "Write one {...} per line",
                )
            yield number, row


def _pair(path: Path, line: int, row: dict[str, object]) -> SimilarityPair:
    first, second, score = (row.get(column) for column in _COLUMNS)
    try:
        number = float(str(score))
    except ValueError:
        number = float("nan")
    if not isinstance(first, str) or not isinstance(second, str) or not np.isfinite(number):
        found = {column: row.get(column) for column in _COLUMNS}
        raise DataError(
            f"{path}:{line}",
            f"expected two sentences and a finite score, got {found}",
            f"Name the columns {', '.join(_COLUMNS)} and correct that line",
        )
    return SimilarityPair(first, second, number)
