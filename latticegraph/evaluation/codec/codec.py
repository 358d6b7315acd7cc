"""What a codec is, and a codec of real numbers stored as bytes.

Legend: N texts, D teacher width, S numbers of a code, Y bytes of a stored code.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from latticegraph.evaluation.arrays import Floats
from latticegraph.evaluation.codec.packing import pack, unpack
from latticegraph.evaluation.codec.quantiser import Quantiser

Bytes = NDArray[np.uint8]


@runtime_checkable
class Codec(Protocol):
    """Anything that turns embeddings into a few real numbers and back.

    A baseline of the report that has both methods is a row of the codec table without further code.

    Attributes:
        name: key in the JSON, and the word for ``--codec``.
        title: label in tables and in the plot.
    """

    name: str
    title: str

    def encode(self, source_ND: Floats, /) -> Floats:
        """Codes of embeddings. Shapes: [N, D] to [N, S]."""

    def decode(self, codes_NS: Floats, /) -> Floats:
        """Embeddings of codes. Shapes: [N, S] to [N, D]."""


class ByteCodec(Protocol):
    """A codec whose code is bytes: what is measured, at the size that it really has.

    Attributes:
        name: key in the JSON; rows of one codec at several sizes share it.
        title: label in tables and in the plot.
        form: how the code is stored, for instance ``64 x int8``.
    """

    name: str
    title: str
    form: str

    def compress(self, source_ND: Floats, /) -> Bytes:
        """Stored codes. Shapes: [N, D] to [N, Y]."""

    def decompress(self, stored_NY: Bytes, /) -> Floats:
        """Embeddings of stored codes. Shapes: [N, Y] to [N, D]."""


class FloatBytes:
    """The codes of a codec as 32-bit floats.

    Args:
        codec: fitted.
        numbers: S.
    """

    def __init__(self, codec: Codec, numbers: int) -> None:
        self.codec, self.numbers = codec, numbers
        self.name, self.title = codec.name, codec.title
        self.form = f"{numbers} x float32"

    def compress(self, source_ND: Floats) -> Bytes:
        """Four bytes per number. Shapes: [N, D] to [N, 4 S]."""
        floats_NS = np.ascontiguousarray(self.codec.encode(source_ND), dtype="<f4")
        return floats_NS.view(np.uint8)

    def decompress(self, stored_NY: Bytes) -> Floats:
        """See :class:`ByteCodec`."""
        floats_NS = np.ascontiguousarray(stored_NY).view("<f4")
        return self.codec.decode(floats_NS.astype(np.float64))


class QuantisedBytes:
    """The codes of a codec, each number replaced by the index of its level.

    Args:
        codec: fitted.
        quantiser: fitted to codes of training text.
        form: label of the storage.
    """

    def __init__(self, codec: Codec, quantiser: Quantiser, form: str) -> None:
        self.codec, self.quantiser, self.form = codec, quantiser, form
        self.name, self.title = codec.name, codec.title

    def compress(self, source_ND: Floats) -> Bytes:
        """Indices, packed without gaps. Shapes: [N, D] to [N, ceil(S bits / 8)]."""
        indices_NS = self.quantiser.indices(self.codec.encode(source_ND))
        return pack(indices_NS, self.quantiser.bits)

    def decompress(self, stored_NY: Bytes) -> Floats:
        """See :class:`ByteCodec`."""
        indices_NS = unpack(stored_NY, self.quantiser.bits, self.quantiser.numbers)
        return self.codec.decode(self.quantiser.values(indices_NS))
