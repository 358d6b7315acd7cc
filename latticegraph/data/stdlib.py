"""Docstring sentences of the running Python's standard library: real text without a download."""

from __future__ import annotations

import ast
import os
import re
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from latticegraph.data.sample import Sample, text_key
from latticegraph.data.stdlib_cache import load_sentences, source_key, store_sentences
from latticegraph.errors import DataError

# Raise it with every change of the extraction below: cached sentences are then parsed again.
EXTRACTION_VERSION = 1

MIN_WORDS = 5
MAX_WORDS = 60
MIN_LETTERS = 0.75

# Test data holds files that are broken on purpose; installed packages are not the standard library.
SKIPPED_FOLDERS = frozenset(
    {
        "__pycache__",
        "dist-packages",
        "idle_test",
        "idlelib",
        "lib2to3",
        "site-packages",
        "test",
        "tests",
    }
)

_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_SENTENCE_END = re.compile(
    r"(?:(?<=[.!?])|(?<=[.!?][\"')\]]))(?<!\be\.g\.)(?<!\bi\.e\.)\s+(?=[\"'(\[`*]*[A-Za-z0-9])"
)
_RULE = re.compile(r"^\s*([-=~*#^])\1{2,}\s*$")
_BULLET = re.compile(r"^\s*(?:[-*+•]|\d{1,2}[.)]|\(\d{1,2}\))\s+")
_WHOLE = re.compile(r"^[\"'(\[`*]*[A-Z].*[.!?][\"')\]`*]*$")
_CODE = re.compile(r"^\s*(?:>>>|\.\.\. |\$ |%|import |from \w+ import |def |class )")


def stdlib_samples(root: Path | None = None, cache_dir: Path | None = None) -> list[Sample]:
    """Sentences of all docstrings below ``root``, sorted, each text once.

    Files are parsed, never imported. The sentences depend on the Python version, not the machine.

    Args:
        root: folder with ``.py`` files; None takes the standard library of the running Python.
        cache_dir: folder that keeps the sentences, so that the files are parsed once; None parses
            them every time and writes nothing.

    Returns:
        Reconstruction samples; the group is the top-level module or package, so that a split never
        shares a file.

    Raises:
        DataError: the folder has no docstring sentence, a file cannot be parsed, or ``cache_dir``
            cannot be written.

    Example::

        samples = stdlib_samples()      # about 12,000 with Python 3.11
    """
    folder = Path(sysconfig.get_path("stdlib")) if root is None else root
    files = _source_files(folder)
    if cache_dir is None:
        rows = parse_sentences(folder, files)
    else:
        key = source_key(folder, files, EXTRACTION_VERSION)
        found = load_sentences(cache_dir, key)
        rows = parse_sentences(folder, files) if found is None else found
        if found is None:
            store_sentences(cache_dir, key, rows)
    return [Sample(source=text, target=text, group=f"stdlib:{group}") for text, group in rows]


def parse_sentences(folder: Path, files: Sequence[Path]) -> list[tuple[str, str]]:
    """Sentence and top-level module of every docstring sentence, sorted by text, each text once.

    Args:
        folder: common folder of the files.
        files: Python sources; of equal texts the first is kept.

    Raises:
        DataError: there is no docstring sentence, or a file cannot be parsed.
    """
    owner: dict[str, tuple[str, str]] = {}
    for path in files:
        group = path.relative_to(folder).parts[0].removesuffix(".py")
        for docstring in _docstrings(path):
            for sentence in sentences(docstring):
                owner.setdefault(text_key(sentence), (sentence, group))
    if not owner:
        raise DataError(
            "data.train",
            f"expected Python sources with docstrings for 'stdlib', got none in '{folder}'",
            "Install Python with its standard library as files, or name text files instead",
        )
    return [row for _, row in sorted(owner.items())]


def sentences(docstring: str) -> Iterator[str]:
    r"""The whole sentences of a docstring, 5 to 60 words each; code and doctests are left out.

    Args:
        docstring: text as :func:`ast.get_docstring` returns it (indentation cleaned).

    >>> list(sentences("Return the sum. It is always a number.\n\n>>> add(1, 2)\n3"))
    ['It is always a number.']
    """
    literal_indent: int | None = None
    for paragraph in _PARAGRAPH.split(docstring):
        lines = [line for line in paragraph.splitlines() if not _RULE.match(line)]
        if not lines:
            continue
        indent = len(lines[0]) - len(lines[0].lstrip())
        if literal_indent is not None and indent > literal_indent:
            continue
        literal_indent = indent if lines[-1].rstrip().endswith("::") else None
        if any(_CODE.match(line) for line in lines):
            continue
        for item in _items(lines):
            yield from (text for text in _SENTENCE_END.split(item) if _is_prose(text))


def _items(lines: list[str]) -> Iterator[str]:
    """Lines joined into running text; every bullet starts a new one."""
    current: list[str] = []
    for line in lines:
        text = _BULLET.sub("", line)
        if text != line and current:
            yield " ".join(" ".join(current).split())
            current = []
        current.append(text)
    yield " ".join(" ".join(current).split())


def _is_prose(text: str) -> bool:
    if not _WHOLE.match(text):
        return False
    letters = sum(character.isalpha() or character == " " for character in text)
    return MIN_WORDS <= len(text.split()) <= MAX_WORDS and letters > MIN_LETTERS * len(text)


def _source_files(folder: Path) -> list[Path]:
    found: list[tuple[str, ...]] = []
    for place, folders, names in os.walk(folder):
        # Not even listed: site-packages may hold ten times as many files as the library.
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        parts = Path(place).relative_to(folder).parts
        found += [(*parts, name) for name in names if name.endswith(".py")]
    # Compared by parts, so that the order is the same under every path separator.
    return [folder.joinpath(*parts) for parts in sorted(found)]


def _docstrings(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise DataError(
            f"{path}:{line}",
            f"expected Python source for 'stdlib', got: {error}",
            "Repair the Python installation, or name text files in data.train",
        ) from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring
