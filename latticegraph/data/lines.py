"""Files of text: which can be read, their bytes, and their lines, each with its number."""

from __future__ import annotations

import difflib
import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from latticegraph.errors import DataError
from latticegraph.progress import show_progress

SUFFIXES = (".txt", ".jsonl", ".csv", ".tsv")
BUILT_IN = ("stdlib", "dialogues")
STDIN = "-"
LARGEST_BYTES = 2**32  # of a text, unpacked
_MB = 10**6
_SAID_FROM_MB = 8


def kind_of(path: Path) -> str:
    """How a file is read: its suffix in lower case, without ``.gz``."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix == ".gz" else suffix


def files_of(path: Path) -> list[Path]:
    """The file itself; of a folder every file of a kind that can be read, also further down.

    Args:
        path: file, folder, or ``-`` for standard input.

    Raises:
        DataError: it is missing (near names are suggested), of another kind, or a folder without
            text.
    """
    if str(path) == STDIN:
        return [path]
    if path.is_dir():
        inside = [file for file in sorted(path.rglob("*")) if file.is_file() and _readable(file)]
        if not inside:
            raise DataError(
                str(path),
                f"expected a folder with {_KINDS} files, got one without",
                "Name another folder, or the files themselves",
            )
        return inside
    if not path.exists():
        names = list(BUILT_IN)
        if path.parent.is_dir():
            names += sorted(file.name for file in path.parent.iterdir() if _readable(file))
        near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"built in: {', '.join(BUILT_IN)}"
        raise DataError(
            str(path),
            "expected a file or a built-in name, got a path that is not there",
            f"Correct the name ({hint})",
        )
    if not _readable(path):
        raise DataError(
            str(path),
            f"expected the suffix {_KINDS}, or one of them and .gz, got '{path.suffix}'",
            "Convert it to one sentence a line (.txt) or one JSON object a line (.jsonl)",
        )
    return [path]


def decoded_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Every line with its end, numbered from 1, as it is read; large files show progress.

    Args:
        path: UTF-8 file, with or without byte order mark; lines end in LF or CR LF.

    Raises:
        DataError: the file cannot be read, is no gzip file, is too large, is not UTF-8, or its
            lines end in CR alone.
    """
    start = 0
    for number, raw in enumerate(_raw_lines(path), start=1):
        if number == 1 and not raw.endswith(b"\n") and raw.count(b"\r") > 1:
            raise DataError(
                str(path),
                "expected lines that end in LF or CR LF, got lines that end in CR alone",
                "Convert the line ends, for instance with: tr '\\r' '\\n'",
            )
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}:{number}",
                f"expected UTF-8 text, got byte 0x{error.object[error.start]:02x} at byte "
                f"{start + error.start} of the file",
                "Save the file as UTF-8",
            ) from error
        start += len(raw)


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, without surrounding white space, numbered from 1.

    Args:
        path: as for :func:`decoded_lines`.

    Raises:
        DataError: as for :func:`decoded_lines`, or no line has text.
    """
    empty = True
    for number, text in decoded_lines(path):
        if line := text.strip():
            empty = False
            yield number, line
    if empty:
        raise DataError(
            str(path), "expected lines with text, got an empty file", "Add text or leave it out"
        )


def _raw_lines(path: Path) -> Iterator[bytes]:
    """Lines as they are read, so that no more than one of them is held."""
    read, told = 0, 0
    with _opened(path) as (file, size, position):
        title, total = f"reading {path.name}", size // _MB
        with show_progress(title, total, unit="MB", quiet_below=_SAID_FROM_MB) as progress:
            # A line is cut where the whole file would be too large.
            for raw in iter(lambda: file.readline(LARGEST_BYTES + 1), b""):
                read += len(raw)
                if read > LARGEST_BYTES:
                    problem = f"expected at most {LARGEST_BYTES:,} bytes of text, got more"
                    raise DataError(str(path), problem, "Divide the file")
                yield raw
                if (now := position() // _MB) > told:
                    progress(now - told)
                    told = now


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], int, Callable[[], int]]]:
    """The content, unpacked; bytes on disk (0: standard input), and how many of them were read.

    Raises:
        DataError: the file cannot be read, or is no gzip file.
    """
    packed = path.suffix.lower() == ".gz"
    try:
        if str(path) == STDIN:
            yield sys.stdin.buffer, 0, lambda: 0
            return
        with path.open("rb") as file:
            content = cast(IO[bytes], gzip.GzipFile(fileobj=file)) if packed else file
            yield content, path.stat().st_size, file.tell
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            str(path),
            f"expected a readable file, got: {getattr(error, 'strerror', None) or error}",
            "Pack it again with gzip" if packed else "Check its permissions",
        ) from error


_KINDS = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"


def _readable(path: Path) -> bool:
    return kind_of(path) in SUFFIXES
