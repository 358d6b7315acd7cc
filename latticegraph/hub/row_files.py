"""Rows of numbers in files, written and read block by block: .npy, .safetensors and .jsonl.

Legend: B rows of a block, W width, N rows in all.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from latticegraph.errors import ConfigError, DataError
from latticegraph.files import parse_json

SUFFIXES = (".npy", ".safetensors", ".jsonl")
# Space for the header, which is known at the end alone. Both formats allow blanks behind it.
_HEADER_BYTES = {".npy": 128, ".safetensors": 256, ".jsonl": 0}

Rows = NDArray[np.float32]


def check_suffix(path: Path, where: str) -> None:
    """Refuse files of a kind that cannot hold rows.

    Args:
        path: the file.
        where: the option that names it, for the message.

    Raises:
        ConfigError: naming the suffixes there are.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            where,
            f"expected the suffix {', '.join(SUFFIXES)}, got '{path.name}'",
            "Choose for example rows.npy",
        )


class RowWriter:
    """Appends rows to a file that takes its name when it is complete.

    Until then they lie beside it in a hidden file, of which the first :attr:`length` bytes are
    complete blocks; a killed process goes on behind them.

    Args:
        path: the file in the end.
        name: of the rows: the tensor of .safetensors, the key of .jsonl.
        width: W.
    """

    def __init__(self, path: Path, name: str, width: int) -> None:
        self.path = path
        self.name = name
        self.width = width
        self._part = path.with_name(f".{path.name}.rows")
        self._file: IO[bytes] | None = None

    @property
    def length(self) -> int:
        """Bytes so far."""
        return self._open.tell()

    @property
    def _open(self) -> IO[bytes]:
        assert self._file is not None, "the writer is opened first"
        return self._file

    def open(self, length: int | None = None) -> None:
        """Begin anew, or go on behind the first ``length`` bytes.

        Raises:
            ConfigError: the folder refuses, or holds less than that.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if length is None:
                self._file = self._part.open("wb")
                self._file.write(b" " * _HEADER_BYTES[self.path.suffix])
                return
            held = self._part.stat().st_size
            if held < length:
                raise ConfigError(
                    "--output",
                    f"expected {length:,} bytes in '{self._part}', got {held:,}",
                    "Delete it and its .progress.json, and start again",
                )
            self._file = self._part.open("rb+")
            self._file.truncate(length)
            self._file.seek(length)
        except OSError as error:
            raise ConfigError(
                "--output",
                f"expected to write '{self.path}', got: {error.strerror or error}",
                "Choose a folder that can be written",
            ) from error

    def append(self, rows_BW: Rows, texts: Sequence[str] | None = None) -> None:
        """Write a block, and make it survive a power cut.

        Args:
            rows_BW: the rows.
            texts: written beside them in .jsonl.
        """
        if self.path.suffix == ".jsonl":
            for index, row in enumerate(rows_BW.tolist()):
                record = {} if texts is None else {"text": texts[index]}
                line = json.dumps(record | {self.name: row}, ensure_ascii=False, allow_nan=False)
                self._open.write(line.encode("utf-8") + b"\n")
        else:
            self._open.write(np.ascontiguousarray(rows_BW, dtype="<f4").tobytes())
        self._open.flush()
        os.fsync(self._open.fileno())

    def append_records(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write a block of JSON objects in place of rows, one a line.

        Args:
            records: for .jsonl alone.
        """
        for record in records:
            line = json.dumps(record, ensure_ascii=False, allow_nan=False)
            self._open.write(line.encode("utf-8") + b"\n")
        self._open.flush()
        os.fsync(self._open.fileno())

    def finish(self) -> None:
        """Write the header and give the file its name."""
        file, size = self._open, _HEADER_BYTES[self.path.suffix]
        rows = (self.length - size) // (4 * self.width)
        file.seek(0)
        file.write(_header(self.path.suffix, self.name, rows, self.width))
        file.flush()
        os.fsync(file.fileno())
        file.close()
        os.replace(self._part, self.path)

    def close(self) -> None:
        """Let go of the unfinished file, which stays."""
        if self._file is not None:
            self._file.close()


def _header(suffix: str, name: str, rows: int, width: int) -> bytes:
    size = _HEADER_BYTES[suffix]
    if suffix == ".npy":
        buffer = io.BytesIO()
        shape = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
        np.lib.format.write_array_header_1_0(buffer, shape)
        header = buffer.getvalue()
    elif suffix == ".safetensors":
        entry = {"dtype": "F32", "shape": [rows, width], "data_offsets": [0, rows * width * 4]}
        text = json.dumps({name: entry}).ljust(size - 8)
        header = (size - 8).to_bytes(8, "little") + text.encode("ascii")
    else:
        return b""
    assert len(header) == size, "the header fits the space left for it"
    return header


def read_rows(path: Path, names: Sequence[str], width: int, block: int) -> Iterator[Rows]:
    """The rows of a file in blocks; not more than one block is in memory.

    Args:
        path: .npy, .safetensors or .jsonl.
        names: of the tensor or key that is looked for, the first that is there.
        width: W that is expected.
        block: rows at a time.

    Raises:
        ConfigError: a file of another kind.
        DataError: the file is missing, damaged or of another width, or a number is not finite.
    """
    check_suffix(path, "--input")
    if not path.is_file():
        raise DataError(str(path), "expected a file, got none", "Correct --input")
    read = {".npy": _from_npy, ".safetensors": _from_safetensors, ".jsonl": _from_jsonl}
    start = 0
    try:
        for found in read[path.suffix](path, names, block):
            rows_BW = np.asarray(found, dtype=np.float32)
            if rows_BW.ndim != 2 or rows_BW.shape[1] != width:
                raise DataError(
                    str(path),
                    f"expected rows of {width} numbers, got shape {list(rows_BW.shape)}",
                    "Use rows that belong to this model",
                )
            if not np.isfinite(rows_BW).all():
                bad = start + int(np.flatnonzero(~np.isfinite(rows_BW).all(axis=1))[0])
                raise DataError(
                    f"{path}:{bad + 1}", "expected finite numbers, got NaN or infinity", "Repair it"
                )
            start += len(rows_BW)
            yield rows_BW
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(
            str(path),
            f"expected {path.suffix} rows, got: {error}",
            "Name a file that latticegraph encode, numpy.save or safetensors wrote",
        ) from error


def _from_npy(path: Path, names: Sequence[str], block: int) -> Iterator[Any]:
    rows_NW = np.load(path, mmap_mode="r", allow_pickle=False)
    if rows_NW.ndim != 2 or rows_NW.dtype.kind != "f":
        raise ValueError(f"an array of shape {rows_NW.shape} and type {rows_NW.dtype}")
    for first in range(0, len(rows_NW), block):
        yield rows_NW[first : first + block]


def _from_safetensors(path: Path, names: Sequence[str], block: int) -> Iterator[Any]:
    with safe_open(path, framework="numpy") as file:
        held = list(file.keys())
        name = next((one for one in names if one in held), None)
        if name is None:
            raise ValueError(f"tensors {held} and none named {' or '.join(names)}")
        rows = file.get_slice(name)
        count = rows.get_shape()[0]
        for first in range(0, count, block):
            yield rows[first : min(first + block, count)]


def _from_jsonl(path: Path, names: Sequence[str], block: int) -> Iterator[Any]:
    rows: list[list[float]] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = parse_json(line)
                row = next(record[name] for name in names if name in record)
                if not all(isinstance(x, (int, float)) and math.isfinite(x) for x in row):
                    raise ValueError("numbers")
            except (ValueError, TypeError, StopIteration) as error:
                raise DataError(
                    f"{path}:{number}",
                    f"expected a JSON object with finite numbers under {' or '.join(names)}, got "
                    f"{line.strip()[:40]!r}",
                    "Repair the line",
                ) from error
            rows.append(row)
            if len(rows) == block:
                yield rows
                rows = []
    if rows:
        yield rows
