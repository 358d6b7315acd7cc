"""Held-out sentences beside the sentence nearest to their prediction.

Legend: N samples, D teacher width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latticegraph.data import Sample
from latticegraph.decoding import TextDecoder
from latticegraph.pipeline.prepare import Prepared


def decoded_examples(prepared: Prepared, prediction_ND: Tensor) -> list[dict[str, Any]]:
    """Held-out samples from all over the split, each with the nearest of all known sentences.

    The targets are among the sentences that are searched, so finding one again is easier than
    decoding: ``is_target`` says where that is so, and ``nearest_other`` is the nearest sentence
    once the target is left out, with ``other_cosine``.

    Args:
        prepared: text, embeddings and the number of examples.
        prediction_ND: predictions for all held-out samples.

    Shapes:
        prediction_ND: [N, D].
    """
    held: Sequence[Sample] = prepared.splits.heldout
    count = min(prepared.config.evaluation.decoded_examples, len(held))
    if not count:
        return []
    chosen = np.linspace(0, len(held) - 1, count).round().astype(int).tolist()
    texts = [sample.target for sample in (*held, *prepared.splits.train)]
    known_ND = torch.cat([prepared.heldout.target_ND, prepared.train.target_ND])
    decoder = TextDecoder(texts, known_ND)
    pairs = decoder.decode(prediction_ND[chosen], min(2, len(decoder.texts)))
    examples = []
    for index, nearest in zip(chosen, pairs, strict=True):
        best, target = nearest[0], held[index].target
        other = next((one for one in nearest if one.text != target), None)
        examples.append(
            {
                "source": held[index].source,
                "target": target,
                "decoded": best.text,
                "cosine": best.cosine,
                "is_target": best.text == target,
                "nearest_other": None if other is None else other.text,
                "other_cosine": None if other is None else other.cosine,
                "searched": len(decoder.texts),
            }
        )
    return examples
