"""Lines of a UTF-8 text file, each with its number; what a user can get wrong about a file."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from latticegraph.errors import DataError

SUFFIXES = (".txt", ".jsonl")
BUILT_IN = ("stdlib", "dialogues")


def check_file(path: Path) -> None:
    """Check that ``path`` is a file of a kind that can be read.

    Raises:
        DataError: it is missing (near names are suggested), a folder, or of another kind.
    """
    if path.is_dir():
        inside = sorted(file.name for file in path.iterdir() if file.suffix in SUFFIXES)
        found = f"it holds {', '.join(inside[:5])}" if inside else "it holds none of these"
        raise DataError(
            str(path),
            "expected a .txt or .jsonl file, got a folder",
            f"Name the files themselves ({found})",
        )
    if not path.exists():
        names = list(BUILT_IN)
        if path.parent.is_dir():
            names += sorted(file.name for file in path.parent.iterdir() if file.suffix in SUFFIXES)
        near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"built in: {', '.join(BUILT_IN)}"
        raise DataError(
            str(path),
            "expected a file or a built-in name, got a path that is not there",
            f"Correct the name ({hint})",
        )
    if path.suffix not in SUFFIXES:
        raise DataError(
            str(path),
            f"expected the suffix .txt or .jsonl, got '{path.suffix}'",
            "Convert it to one sentence a line (.txt) or one JSON object a line (.jsonl)",
        )


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, without surrounding white space, numbered from 1.

    Args:
        path: UTF-8 file, with or without byte order mark; lines end in LF or CR LF.

    Raises:
        DataError: the file cannot be read, is not UTF-8, or has no line with text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            str(path),
            f"expected a readable file, got: {error.strerror or error}",
            "Check its permissions",
        ) from error
    empty = True
    start = 0
    for number, raw in enumerate(data.split(b"\n"), start=1):
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
