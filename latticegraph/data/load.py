"""From a name in the settings to samples: built-in corpora and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from latticegraph.data.dialogues import dialogue_samples
from latticegraph.data.lines import BUILT_IN, files_of, kind_of, numbered_lines
from latticegraph.data.rows import Task, parse_row, row_samples, text_group
from latticegraph.data.sample import Sample, text_key
from latticegraph.data.saved_datasets import dataset_rows, is_saved_dataset
from latticegraph.data.stdlib import stdlib_samples
from latticegraph.data.tables import table_rows
from latticegraph.errors import DataError


def load_source(name: str, task: Task, cache_dir: Path | None = None) -> list[Sample]:
    """The samples of a built-in corpus (``stdlib``, ``dialogues``) or of files, repeats included.

    Args:
        name: built-in name, path of a file or folder, or ``-`` for lines of standard input.
        task: ``reconstruction`` or ``question_answer``.
        cache_dir: folder that keeps the sentences of ``stdlib``; None writes nothing.

    Raises:
        DataError: see :func:`load_file`; ``stdlib`` has no questions.
    """
    if name not in BUILT_IN:
        return _read(Path(name), task)
    if name == "dialogues":
        return dialogue_samples(task)
    if task == "question_answer":
        raise DataError(
            "data.task",
            "expected text with questions and answers for task question_answer, got 'stdlib', "
            "which has only sentences",
            "Remove stdlib from data.train and data.heldout, or set data.task to reconstruction",
        )
    return stdlib_samples(cache_dir=cache_dir)


def load_file(path: str | Path, task: Task) -> list[Sample]:
    """The samples of a file, or of all files of a folder, each source and target once.

    ``.txt``: a sentence a line; blank lines are ignored. ``.jsonl``: one object a line; see
    :func:`latticegraph.data.rows.row_samples` for the fields. ``.csv`` and ``.tsv``: a header with
    these fields, and rows. Each may be packed (``.txt.gz``). A folder that ``save_to_disk`` of
    ``datasets`` wrote gives its rows, with these fields as columns.

    Args:
        path: UTF-8 file; ``~`` is the home folder.
        task: ``reconstruction`` or ``question_answer``.

    Raises:
        DataError: naming the file and the line.
    """
    return without_repeats(_read(Path(path), task))


def check_source(name: str) -> None:
    """Check that a built-in corpus, a file or a folder of that name can be read; nothing is read.

    Raises:
        DataError: it is missing, or of another kind.
    """
    path = Path(name).expanduser()
    if name not in BUILT_IN and not is_saved_dataset(path):
        files_of(path)


def _read(path: Path, task: Task) -> list[Sample]:
    path = path.expanduser()
    if is_saved_dataset(path):
        rows = dataset_rows(path)
        return [sample for where, row in rows for sample in row_samples(row, task, where)]
    found = files_of(path)
    return [sample for file in found for sample in _samples(file, task)]


def _samples(file: Path, task: Task) -> Iterator[Sample]:
    kind = kind_of(file)
    if kind == ".jsonl":
        for number, line in numbered_lines(file):
            where = f"{file}:{number}"
            yield from row_samples(parse_row(line, where), task, where)
    elif kind in (".csv", ".tsv"):
        for number, row in table_rows(file):
            yield from row_samples(row, task, f"{file}:{number}")
    elif task == "reconstruction":
        for _, line in numbered_lines(file):
            yield Sample(line, line, text_group(line))
    else:
        raise DataError(
            str(file),
            "expected questions and answers for task question_answer, got a "
            f"{kind or 'piped'} file",
            "Use .jsonl or .csv with question and answer, or set data.task to reconstruction",
        )


def without_repeats(samples: Iterable[Sample]) -> list[Sample]:
    """The first of all samples that agree in source and target, but for case and white space."""
    first: dict[tuple[str, str], Sample] = {}
    for sample in samples:
        source = text_key(sample.source)
        target = source if sample.target == sample.source else text_key(sample.target)
        first.setdefault((source, target), sample)
    return list(first.values())
