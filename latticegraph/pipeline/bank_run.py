"""Builds a bank of sentences from a file of text.

Legend: B texts of a block, D teacher width.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from latticegraph.decoding import KnownTeacher
from latticegraph.decoding.bank_files import write_bank
from latticegraph.hub import LatticeModel
from latticegraph.pipeline.encode_run import LOG_EVERY, text_blocks
from latticegraph.teachers.protocol import Embeddings

_log = logging.getLogger(__name__)


def build_bank(model: LatticeModel, source: str, folder: Path) -> int:
    """Embed the lines of a text with the model's teacher and store both as a bank.

    Args:
        model: whose teacher embeds; the bank fits every model with the same teacher.
        source: text file, one sentence per line; ``-``: standard input.
        folder: of the bank; must not be there yet, and appears when it is whole.

    Returns:
        Number of different sentences.

    Raises:
        ConfigError: the folder is there, or cannot be written.
        DataError: a line cannot be read or is empty.
        TeacherError: the teacher is another one or cannot embed a text.
    """
    teacher = model.teacher
    known = KnownTeacher(
        name=teacher.name, dimension=teacher.dimension, fingerprint=teacher.fingerprint
    )

    def blocks() -> Iterator[tuple[list[str], Embeddings]]:
        rows = 0
        for number, texts in enumerate(text_blocks(source), start=1):
            rows += len(texts)
            yield texts, teacher.encode(texts)
            if number % LOG_EVERY == 0:
                _log.info("%s sentences", f"{rows:,}")

    return write_bank(folder, blocks(), known)
