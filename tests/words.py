"""A teacher of any text, as a file of a user's own: the sum of a random vector per word."""

from __future__ import annotations

from pathlib import Path

CODE = '''
import hashlib

import numpy as np

from latticegraph.teachers import Teacher


class Words(Teacher):
    """Sum of a random vector per word."""

    name = "words"

    def __init__(self, dimension):
        self.dimension = dimension

    @property
    def fingerprint(self):
        return hashlib.sha256(f"words {self.dimension}".encode()).hexdigest()

    def encode(self, texts, progress=None):
        rows = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
                row += np.random.default_rng(int.from_bytes(digest, "big")).normal(size=len(row))
        return rows
'''


def write_teacher(folder: Path) -> str:
    """Write the file; the path of the class, for ``teacher.kind``."""
    (folder / "words.py").write_text(CODE, encoding="utf-8")
    return f"{folder / 'words.py'}:Words"
