"""One sample of text, and the key under which two texts count as the same."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """A text to read, a text to show, and the unit that must not be split.

    Args:
        source: text whose teacher embedding is written onto the front face.
        target: text whose teacher embedding the back face should show; ``source`` itself for
            reconstruction.
        group: conversation, dialogue, premise or file the sample comes from; all samples of a group
            land in the same split.
    """

    source: str
    target: str
    group: str


def text_key(text: str) -> str:
    r"""The text without differences of case, white space and Unicode composition.

    >>> text_key("  Two\tWORDS ")
    'two words'
    """
    if text.isascii():
        return " ".join(text.lower().split())
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())
