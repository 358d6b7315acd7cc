"""The dialogues that come with the package."""

from __future__ import annotations

import json
from importlib import resources
from itertools import pairwise
from typing import Any

from latticegraph.data.rows import Task
from latticegraph.data.sample import Sample

FILE_NAME = "dialogues.jsonl"


def dialogue_samples(task: Task) -> list[Sample]:
    """Turns of the built-in dialogues; a group is one dialogue.

    Args:
        task: ``reconstruction`` gives every turn, ``question_answer`` every turn with the next
            one of the same dialogue.
    """
    turns = dialogue_turns()
    if task == "reconstruction":
        return [Sample(turn["text"], turn["text"], _group(turn)) for turn in turns]
    return [
        Sample(turn["text"], reply["text"], _group(turn))
        for turn, reply in pairwise(turns)
        if turn["dialogue"] == reply["dialogue"]
    ]


def dialogue_turns() -> list[dict[str, Any]]:
    """All turns in order; ``turn`` counts from 1 within each dialogue.

    >>> sorted(dialogue_turns()[0])
    ['dialogue', 'speaker', 'text', 'topic', 'turn']
    """
    text = resources.files("latticegraph.data").joinpath(FILE_NAME).read_text(encoding="utf-8")
    # Not splitlines(): a turn may hold other characters that Unicode counts as line ends.
    return [json.loads(line) for line in text.split("\n") if line]


def _group(turn: dict[str, Any]) -> str:
    return f"dialogue:{turn['dialogue']}"
