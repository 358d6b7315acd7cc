"""Files of text: which can be read, their bytes, and their lines, each with its number."""

from __future__ import annotations

import difflib
import gzip
import logging
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from latticegraph.errors import DataError

_log = logging.getLogger(__name__)

SUFFIXES = (".txt", ".jsonl", ".csv", ".tsv")
BUILT_IN = ("stdlib", "dialogues")
STDIN = "-"
LARGEST_BYTES = 2**32  # of a text, unpacked
_SAID_ABOVE = 2**23


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


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked, or of standard input.

    Raises:
        DataError: it cannot be read, is no gzip file, or has lines that end in CR alone.
    """
    try:
        if str(path) == STDIN:
            data = sys.stdin.buffer.read()
        elif path.suffix.lower() == ".gz":
            with gzip.open(path) as file:
                data = file.read(LARGEST_BYTES + 1)
        else:
            size = path.stat().st_size
            if size > _SAID_ABOVE:
                _log.info("text: reading %s, %.0f MB", path, size / 1e6)
            if size > LARGEST_BYTES:
                raise _too_large(path)
            data = path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            str(path),
            f"expected a readable file, got: {getattr(error, 'strerror', None) or error}",
            "Check its permissions" if path.suffix.lower() != ".gz" else "Pack it again with gzip",
        ) from error
    if len(data) > LARGEST_BYTES:
        raise _too_large(path)
    if b"\n" not in data and data.count(b"\r") > 1:
        raise DataError(
            str(path),
            "expected lines that end in LF or CR LF, got lines that end in CR alone",
            "Convert the line ends, for instance with: tr '\\r' '\\n'",
        )
    return data


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, without surrounding white space, numbered from 1.

    Args:
        path: UTF-8 file, with or without byte order mark; lines end in LF or CR LF.

    Raises:
        DataError: the file cannot be read, is not UTF-8, or has no line with text.
    """
    empty = True
    start = 0
    for number, raw in enumerate(read_bytes(path).split(b"\n"), start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}:{number}",
                f"expected UTF-8 text, got byte 0x{error.object[error.start]:02x} at byte "
                f"{start + error.start} of the file",
                "Save the file as UTF-8",
            ) from error
        start += len(raw) + 1
        if line:
            empty = False
            yield number, line
    if empty:
        raise DataError(
            str(path), "expected lines with text, got an empty file", "Add text or leave it out"
        )


_KINDS = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"


def _too_large(path: Path) -> DataError:
    problem = f"expected at most {LARGEST_BYTES:,} bytes of text, got more"
    return DataError(str(path), problem, "Divide the file")


def _readable(path: Path) -> bool:
    return kind_of(path) in SUFFIXES
