"""One row of a JSONL file as samples of a task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from latticegraph.data.sample import Sample, text_key
from latticegraph.errors import DataError
from latticegraph.files import parse_json

Task = Literal["reconstruction", "question_answer"]

SCHEMAS = "text, or question and answer, or sentence1 and sentence2"
_GROUP_FIELDS = ("group", "conversation", "dialogue")


def parse_row(line: str, where: str) -> dict[str, Any]:
    """The JSON object of one line.

    Args:
        line: one line of the file.
        where: file and line, for the message.

    Raises:
        DataError: the line is not JSON, or not an object.
    """
    try:
        row = parse_json(line)
    except ValueError as error:
        found = str(error)
        if isinstance(error, json.JSONDecodeError):
            found = f"at column {error.colno}: {error.msg}"
        raise DataError(
            where,
            f"expected one JSON object a line, got malformed JSON {found}",
            "Correct that line",
        ) from error
    if not isinstance(row, dict):
        raise DataError(
            where,
            f"expected a JSON object with {SCHEMAS}, got {type(row).__name__}",
            'Write for example {"text": "A sentence."}',
        )
    return row


def row_samples(row: dict[str, Any], task: Task, where: str) -> list[Sample]:
    """The samples of one row; a file may mix the three kinds of rows.

    ==========================  ==========================  ========================================
    fields                      reconstruction              group
    ==========================  ==========================  ========================================
    text                        the text                    group, conversation, dialogue or itself
    question, answer            both texts                  the same, or the question
    sentence1, sentence2        both texts                  sentence1 (the premise)
    ==========================  ==========================  ========================================

    Question answering needs ``question`` and ``answer``.

    Args:
        row: parsed line.
        task: ``reconstruction`` or ``question_answer``.
        where: file and line, for the message.

    Raises:
        DataError: fields are missing for this task, or a text is no string, empty, or no Unicode.
    """
    if "question" in row and "answer" in row:
        question, answer = _text(row, "question", where), _text(row, "answer", where)
        group = _group(row, question, where)
        if task == "question_answer":
            return [Sample(question, answer, group)]
        return [Sample(text, text, group) for text in (question, answer)]
    if task == "reconstruction" and "text" in row:
        text = _text(row, "text", where)
        return [Sample(text, text, _group(row, text, where))]
    if task == "reconstruction" and "sentence1" in row and "sentence2" in row:
        premise = _text(row, "sentence1", where)
        group = text_group(premise)
        return [Sample(text, text, group) for text in (premise, _text(row, "sentence2", where))]
    found = ", ".join(sorted(row)) or "no field"
    if task == "question_answer":
        raise DataError(
            where,
            f"expected the fields question and answer for task question_answer, got {found}",
            "Rename the fields, or set data.task to reconstruction",
        )
    raise DataError(where, f"expected the fields {SCHEMAS}, got {found}", "Rename the fields")


def text_group(text: str) -> str:
    """The group of a text that belongs to nothing larger."""
    return f"text:{text_key(text)}"


def _text(row: dict[str, Any], field: str, where: str) -> str:
    value = row[field]
    if not isinstance(value, str):
        raise DataError(
            where,
            f"expected a string in the field {field}, got {type(value).__name__}",
            "Correct that line",
        )
    text = value.strip()
    if not text:
        raise DataError(
            where, f"expected text in the field {field}, got an empty string", "Remove that line"
        )
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise DataError(
            where,
            f"expected Unicode text in the field {field}, got half of a surrogate pair",
            "Write the character whole, as UTF-8",
        )
    return text


def named_value(row: dict[str, Any], fields: Sequence[str], where: str) -> tuple[str, str] | None:
    """The first of some fields that a row has, and its value as text; None where it has none.

    Args:
        row: parsed line.
        fields: names, the preferred one first.
        where: file and line, for the message.

    Raises:
        DataError: the value is neither a name nor a whole number.
    """
    field = next((name for name in fields if name in row), None)
    if field is None:
        return None
    value = row[field]
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise DataError(
            where,
            f"expected a name or a whole number in the field {field}, got {value!r}",
            "Correct that line",
        )
    return field, str(value)


def _group(row: dict[str, Any], text: str, where: str) -> str:
    found = named_value(row, _GROUP_FIELDS, where)
    return text_group(text) if found is None else ":".join(found)
