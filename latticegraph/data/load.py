"""From a name in the settings to samples: built-in corpora and files."""

from __future__ import annotations

from pathlib import Path

from latticegraph.data.dialogues import dialogue_samples
from latticegraph.data.lines import BUILT_IN, check_file, numbered_lines
from latticegraph.data.rows import Task, parse_row, row_samples, text_group
from latticegraph.data.sample import Sample, text_key
from latticegraph.data.stdlib import stdlib_samples
from latticegraph.errors import DataError


def load_source(name: str, task: Task, cache_dir: Path | None = None) -> list[Sample]:
    """The samples of a built-in corpus (``stdlib``, ``dialogues``) or of a file.

    Args:
        name: built-in name, or path of a ``.txt`` or ``.jsonl`` file.
        task: ``reconstruction`` or ``question_answer``.
        cache_dir: folder that keeps the sentences of ``stdlib``; None writes nothing.

    Raises:
        DataError: see :func:`load_file`; ``stdlib`` has no questions.
    """
    if name not in BUILT_IN:
        return load_file(name, task)
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
    """The samples of one file, in its order, each source and target once.

    ``.txt``: a sentence a line; blank lines are ignored. ``.jsonl``: one object a line; see
    :func:`latticegraph.data.rows.row_samples` for the fields.

    Args:
        path: UTF-8 file; ``~`` is the home folder.
        task: ``reconstruction`` or ``question_answer``.

    Raises:
        DataError: naming the file and the line.
    """
    file = Path(path).expanduser()
    check_file(file)
    samples: list[Sample] = []
    for number, line in numbered_lines(file):
        where = f"{file}:{number}"
        if file.suffix == ".jsonl":
            samples += row_samples(parse_row(line, where), task, where)
        elif task == "reconstruction":
            samples.append(Sample(line, line, text_group(line)))
        else:
            raise DataError(
                str(file),
                "expected questions and answers for task question_answer, got a .txt file",
                "Use .jsonl with question and answer, or set data.task to reconstruction",
            )
    return without_repeats(samples)


def without_repeats(samples: list[Sample]) -> list[Sample]:
    """The first of all samples that agree in source and target, but for case and white space."""
    first: dict[tuple[str, str], Sample] = {}
    for sample in samples:
        source = text_key(sample.source)
        target = source if sample.target == sample.source else text_key(sample.target)
        first.setdefault((source, target), sample)
    return list(first.values())
