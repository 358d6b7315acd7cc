"""Batches of texts of like length.

Legend: B texts, L tokens, D teacher width, N texts in all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latticegraph.decoding.generative.vocabulary import END

IGNORED = -100
"""Target of places behind the end of a text."""


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """Embeddings, what the decoder reads, and what it should write.

    Args:
        embedding_BD: embeddings of length 1.
        ids_BL: tokens so far.
        target_BT: the token at every place, the first included; T is L + 1.
    """

    embedding_BD: Tensor
    ids_BL: Tensor
    target_BT: Tensor

    @property
    def count(self) -> int:
        """Number of tokens to be written."""
        return int((self.target_BT != IGNORED).sum())


class TokenTexts:
    """Texts as token ids beside their embeddings.

    Args:
        ids: ids of each text, the end included.
        embedding_ND: embeddings, of length 1.

    Shapes:
        embedding_ND: [N, D].
    """

    def __init__(self, ids: Sequence[Sequence[int]], embedding_ND: Tensor) -> None:
        self.embedding_ND = embedding_ND
        self._ids = [torch.tensor(row, dtype=torch.long) for row in ids]
        self._length_N = torch.tensor([len(row) for row in ids])

    @property
    def tokens(self) -> int:
        """Tokens of all texts, ends included."""
        return int(self._length_N.sum())

    def __len__(self) -> int:
        return len(self._ids)

    def batches(self, tokens: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """Places of the texts of every batch; each text once.

        Texts are sorted by length, so that next to nothing is padded, and cut into batches.

        Args:
            tokens: most tokens of a batch, padding included; a single longer text is a batch.
            generator: shuffles texts of equal length, and the batches; None: keeps their order.
        """
        order_N = torch.arange(len(self))
        if generator is not None:
            order_N = torch.randperm(len(self), generator=generator)
        order_N = order_N[self._length_N[order_N].argsort(stable=True)]
        made, start = [], 0
        for place, index in enumerate(order_N.tolist()):
            length = int(self._length_N[index])
            if place > start and (place - start + 1) * length > tokens:
                made.append(order_N[start:place])
                start = place
        made.append(order_N[start:])
        if generator is None:
            return made
        return [made[i] for i in torch.randperm(len(made), generator=generator).tolist()]

    def batch(self, index_B: Tensor) -> TokenBatch:
        """The texts at these places, padded to the longest of them.

        Args:
            index_B: places.
        """
        rows = [self._ids[i] for i in index_B.tolist()]
        target_BT = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=IGNORED)
        ids_BL = target_BT[:, :-1].masked_fill(target_BT[:, :-1] == IGNORED, END)
        return TokenBatch(self.embedding_ND[index_B], ids_BL, target_BT)

    def in_batches(self, tokens: int) -> Iterator[TokenBatch]:
        """All texts once, in a fixed order; see :meth:`batches`."""
        return (self.batch(index_B) for index_B in self.batches(tokens))
