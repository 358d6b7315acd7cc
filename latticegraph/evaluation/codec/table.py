"""The codec table: every codec at every size, measured alike.

Legend: N texts, D teacher width, S numbers of a code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from latticegraph.errors import ConfigError
from latticegraph.evaluation.arrays import Floats
from latticegraph.evaluation.codec.codec import ByteCodec, Codec, FloatBytes, QuantisedBytes
from latticegraph.evaluation.codec.one_bit import OneBitCodec
from latticegraph.evaluation.codec.product_quantisation import MISSING, OpqCodec, has_faiss
from latticegraph.evaluation.codec.quality import CodecQuality
from latticegraph.evaluation.codec.quantiser import lloyd_max_quantiser, uniform_quantiser

Progress = Callable[[str], None]
"""Called with what is being measured."""

FIXED = (OpqCodec.name, OneBitCodec.name)
"""Codecs that choose their own bytes instead of storing the numbers of a code."""


@dataclass(frozen=True)
class NotMeasured:
    """A row that could not be measured.

    Attributes:
        name: of the codec.
        title: of the codec.
        reason: one clause.
    """

    name: str
    title: str
    reason: str


def sizes_of(numbers: int) -> tuple[int, ...]:
    """Bytes of S numbers as float32, as int8 and with 4 bits each."""
    return 4 * numbers, numbers, -(-numbers // 2)


def check_names(asked: Sequence[str], known: Sequence[str]) -> None:
    """Refuse rows that do not exist.

    Raises:
        ConfigError: naming the rows that do.
    """
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise ConfigError(
            "--codec",
            f"expected some of {', '.join(known)}, got '{unknown[0]}'",
            "Correct it, or name none to measure all",
        )


def stored(codec: Codec, train_ND: Floats) -> Iterator[ByteCodec]:
    """One codec at three sizes; levels are learned on the codes of training texts.

    Args:
        codec: fitted.
        train_ND: embeddings of training texts.

    Shapes:
        train_ND: [N, D].
    """
    codes_NS = codec.encode(train_ND)
    numbers = codes_NS.shape[1]
    yield FloatBytes(codec, numbers)
    yield QuantisedBytes(codec, uniform_quantiser(codes_NS, 8), f"{numbers} x int8")
    yield QuantisedBytes(codec, lloyd_max_quantiser(codes_NS, 4), f"{numbers} x 4 bit")


def fixed_rate(
    names: Sequence[str], required: bool, numbers: int, train_ND: Floats, seed: int
) -> Iterator[ByteCodec | NotMeasured]:
    """Codecs that are fitted anew for each size.

    Args:
        names: some of :data:`FIXED`.
        required: whether the user asked for these by name, so that a missing extra is an error.
        numbers: S; its sizes are the budgets.
        train_ND: embeddings of training texts.
        seed: of random rotations.

    Shapes:
        train_ND: [N, D].

    Raises:
        ConfigError: faiss is required and not installed.
    """
    width = train_ND.shape[1]
    if OpqCodec.name in names and not required and not has_faiss():
        yield NotMeasured(OpqCodec.name, OpqCodec.title, MISSING)
    elif OpqCodec.name in names:
        for size in sizes_of(numbers):
            opq = OpqCodec(size)
            opq.fit(train_ND)
            yield opq
    if OneBitCodec.name in names:
        # A budget of more bits than dimensions gives the same code as the full width.
        for bits in sorted({min(8 * size, width) for size in sizes_of(numbers)}, reverse=True):
            one_bit = OneBitCodec(bits, seed)
            one_bit.fit(train_ND)
            yield one_bit


def measure_codecs(
    rows: Iterator[ByteCodec | NotMeasured],
    quality: CodecQuality,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Measure every row.

    Args:
        rows: codecs at the size that they are measured at.
        quality: held-out embeddings and what is measured on them.
        progress: told each row before it is measured.

    Returns:
        Per row ``codec``, ``title``, ``form``, ``bytes`` per text (of the stored array itself), and
        the values of :meth:`CodecQuality.measure`; a row that was not measured has ``reason``
        instead of form, bytes and values.

    Raises:
        DataError: a codec returns another shape, or numbers that are not finite.
    """
    measured: list[dict[str, Any]] = []
    for row in rows:
        named: dict[str, Any] = {"codec": row.name, "title": row.title}
        if isinstance(row, NotMeasured):
            measured.append(named | {"reason": row.reason})
            continue
        if progress is not None:
            progress(f"{row.title}, {row.form}")
        sizes: list[int] = []
        values = quality.measure(partial(_through, row, sizes))
        measured.append(named | {"form": row.form, "bytes": sizes[0]} | values)
    return measured


def _through(codec: ByteCodec, sizes: list[int], source_ND: Floats) -> Floats:
    stored_NY = codec.compress(source_ND)
    sizes.append(stored_NY.shape[1])
    return codec.decompress(stored_NY)
