"""A byte-pair vocabulary of its own: text to token ids and back, without loss.

Legend: B texts, L tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ValidationError, model_validator

from latticegraph.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

END, UNKNOWN, PIECE = 0, 1, 2
"""Ids of marks: the end of a text, a token that the decoder is not shown in training, and the start
of what is a piece of a sentence."""

_MARKS = ["<end>", "<unknown>", "<piece>"]


class _Pairs(BaseModel):
    """The part of the file that differs between vocabularies: tokens, and which pairs merge."""

    vocab: dict[str, int]
    merges: list[tuple[str, str]]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sorted(self.vocab.values()) != list(range(len(self.vocab))):
            raise ValueError("ids that do not count from 0")
        for one, two in self.merges:
            if not {one, two, one + two} <= self.vocab.keys():
                raise ValueError(f"pair {one!r}, {two!r} of tokens that it does not hold")
        return self


class _Stored(BaseModel):
    """A file of the tokenizers library, of which the pairs are read."""

    model: _Pairs


def _byte_level(pairs: BPE) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, pre_tokenizers

    tokenizer = Tokenizer(pairs)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _damaged(where: str, size: int, problem: str) -> CheckpointError:
    return CheckpointError(
        where, f"expected a vocabulary of {size} entries, got: {problem}", "Train again"
    )


class Vocabulary:
    """Byte-level pairs (Sennrich et al. 2016): every text can be written.

    Args:
        tokenizer: of the tokenizers library.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def learn(cls, texts: Iterable[str], size: int) -> Self:
        """The vocabulary of ``texts``.

        Args:
            texts: the training text alone.
            size: entries, 256 bytes and 3 marks among them.

        Raises:
            ConfigError: the texts have too few different pairs.
        """
        from tokenizers import models, pre_tokenizers, trainers

        tokenizer = _byte_level(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=_MARKS,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        made = tokenizer.get_vocab_size()
        if made != size:
            raise ConfigError(
                "network.vocabulary",
                f"expected {size} entries, got text with no more than {made}",
                f"Set it to {made}, or train on more text",
            )
        return cls(tokenizer)

    @classmethod
    def from_json(cls, text: str, size: int, where: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Args:
            text: JSON of the tokenizers library.
            size: entries that are expected.
            where: the file, for errors.

        Raises:
            CheckpointError: it is damaged or has another size.
        """
        from tokenizers import models

        try:
            pairs = _Stored.model_validate_json(text).model
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise _damaged(where, size, f"{first['msg']} ({place})") from error
        if len(pairs.vocab) != size:
            raise _damaged(where, size, f"{len(pairs.vocab)} entries")
        tokenizer = _byte_level(models.BPE(vocab=pairs.vocab, merges=pairs.merges))
        tokenizer.add_special_tokens(_MARKS)
        made = cls(tokenizer)
        if made.to_json() != text:
            raise _damaged(where, size, "settings of another kind of vocabulary")
        return made

    def to_json(self) -> str:
        """Everything about it, for :meth:`from_json`."""
        return self._tokenizer.to_str() + "\n"

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._tokenizer.get_vocab_size()

    def starts_of_words(self) -> list[str]:
        """The text of every entry that words start with, in the order of ids; others are empty."""
        texts = self._tokenizer.decode_batch([[i] for i in range(self.size)])
        return [text.strip() if text.startswith(" ") else "" for text in texts]

    def encode(
        self, texts: Sequence[str], longest: int, *, pieces: bool = False
    ) -> list[list[int]]:
        """Token ids of each text, its end included where it fits.

        Args:
            texts: B texts.
            longest: most ids of a text; the rest is cut off.
            pieces: the texts are no sentences; their ids start with the mark of a piece.
        """
        first = [PIECE] if pieces else []
        encodings = self._tokenizer.encode_batch(list(texts))
        return [[*first, *encoding.ids, END][:longest] for encoding in encodings]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Texts of token ids; marks are left out and white space at both ends is removed.

        Args:
            ids: B lists; the first end ends a text.
        """
        cut = [list(row[: row.index(END)] if END in row else row) for row in ids]
        return [text.strip() for text in self._tokenizer.decode_batch(cut)]
