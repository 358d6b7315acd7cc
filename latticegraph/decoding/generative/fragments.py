"""Pieces of the training text, with which a decoder learns what single words do to an embedding."""

from __future__ import annotations

import random
from collections.abc import Sequence

SHORTEST, LONGEST = 2, 12
"""Words of a piece."""


def fragments(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """Random runs of words of the texts, each piece once and none a whole text.

    A few thousand sentences tell a network which sentence has which embedding rather than what an
    embedding says. Their pieces are more texts with embeddings of their own, and nothing but the
    training text is needed.

    Args:
        texts: sentences.
        count: pieces of each; fewer where a text has few words.
        seed: of the choice.

    >>> sorted(fragments(["one two three", "a"], 9, seed=0))
    ['one two', 'two three']
    """
    chooser = random.Random(seed)
    whole, made = set(texts), dict[str, None]()
    for text in texts:
        words = text.split()
        most = min(LONGEST, len(words) - 1)
        if most < SHORTEST:
            continue
        for _ in range(count):
            length = chooser.randint(SHORTEST, most)
            start = chooser.randint(0, len(words) - length)
            piece = " ".join(words[start : start + length])
            if piece not in whole:
                made[piece] = None
    return list(made)
