"""A stored decoder of whichever kind lies in a folder."""

from __future__ import annotations

from pathlib import Path

from latticegraph.config.decoder import Method
from latticegraph.decoding.bank import BankDecoder
from latticegraph.decoding.bank_files import BANK
from latticegraph.decoding.decoder import Decoder
from latticegraph.decoding.generative.decoder import Encode
from latticegraph.decoding.generative.stored import SETTINGS, load_decoder
from latticegraph.errors import CheckpointError


def open_decoder(
    folder: Path, name: str, fingerprint: str, encode: Encode, method: Method | None = None
) -> Decoder:
    """A bank, or a decoder that writes.

    Args:
        folder: that ``latticegraph bank`` or ``latticegraph train-decoder`` wrote.
        name: of the teacher whose embeddings will be decoded.
        fingerprint: of that teacher.
        encode: of that teacher, to choose among written texts.
        method: in place of ``writing.method`` of a decoder that writes.

    Raises:
        CheckpointError: the folder is none of a decoder, or damaged.
        TeacherError: the decoder belongs to another teacher.
    """
    if (folder / BANK).is_file():
        bank = BankDecoder.open(folder)
        bank.teacher.check(str(folder), name, fingerprint)
        return bank
    if (folder / SETTINGS).is_file():
        writer, _ = load_decoder(folder, encode)
        writer.teacher.check(str(folder), name, fingerprint)
        return writer if method is None else writer.using(method)
    raise CheckpointError(
        str(folder),
        f"expected the folder of a decoder, got one with neither {BANK} nor {SETTINGS}",
        "Name a folder that latticegraph bank or latticegraph train-decoder wrote",
    )
