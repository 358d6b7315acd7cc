"""A folder of sentences and their embeddings that is mapped into memory and not read.

Legend: N sentences, D teacher width, B rows of a block.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from latticegraph.config.messages import config_error
from latticegraph.config.section import Section
from latticegraph.decoding.decoder import KnownTeacher, checked_rows
from latticegraph.digests import file_sha256
from latticegraph.errors import CheckpointError, ConfigError, DataError
from latticegraph.files import advice, parse_json, write_text

BANK, ROWS, TEXTS, OFFSETS = "bank.json", "embeddings.npy", "texts.bin", "offsets.npy"
FORMAT: Literal["latticegraph-bank"] = "latticegraph-bank"
_HEADER_BYTES = 128  # of a .npy file; the number of rows is known at the end alone


class BankSettings(Section):
    """The content of ``bank.json``.

    Args:
        teacher: whose embeddings the rows are.
        sentences: N.
        sha256: of the other files by name.
    """

    format: Literal["latticegraph-bank"] = FORMAT
    version: Literal[1] = 1
    teacher: KnownTeacher
    sentences: int = Field(ge=1, description="number of sentences")
    sha256: dict[Literal["embeddings.npy", "texts.bin", "offsets.npy"], str] = Field(
        description="digests of the files"
    )


@dataclass(frozen=True, eq=False)
class BankFiles:
    """What lies in the folder; nothing of it is read before it is asked for.

    Args:
        teacher: whose embeddings the rows are.
        rows_ND: float32 as the teacher gave them.
        texts: UTF-8 of all sentences, one behind the other.
        offsets: N + 1 places where they start and the last ends.
    """

    teacher: KnownTeacher
    rows_ND: NDArray[np.float32]
    texts: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    def text(self, index: int) -> str:
        """One sentence.

        Args:
            index: its place, from 0.
        """
        first, last = self.offsets[index : index + 2].tolist()
        return self.texts[first:last].tobytes().decode("utf-8")


def write_bank(
    folder: Path,
    blocks: Iterable[tuple[Sequence[str], NDArray[np.float32]]],
    teacher: KnownTeacher,
) -> int:
    """Write sentences and embeddings block by block; the folder appears when it is whole.

    Repeated sentences are left out. Of all sentences a digest of 16 bytes is in memory.

    Args:
        folder: must not be there yet.
        blocks: texts and their embeddings, [B, D].
        teacher: whose embeddings they are.

    Returns:
        Number of different sentences.

    Raises:
        ConfigError: the folder is there, or cannot be written.
        DataError: there is no sentence, or rows do not match.
    """
    if folder.exists():
        raise ConfigError(
            "--output", f"expected a new folder, got '{folder}'", "Choose another one, or delete it"
        )
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.partial")
    try:
        part.mkdir(parents=True)
        count = _fill(part, blocks, teacher)
        os.replace(part, folder)
    except OSError as error:
        raise ConfigError(
            "--output", f"expected to write '{folder}', got: {error.strerror}", advice(error)
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return count


def _fill(
    part: Path,
    blocks: Iterable[tuple[Sequence[str], NDArray[np.float32]]],
    teacher: KnownTeacher,
) -> int:
    seen, offsets = set[bytes](), [0]
    with (part / ROWS).open("wb") as rows_file, (part / TEXTS).open("wb") as texts_file:
        rows_file.write(b" " * _HEADER_BYTES)
        for texts, rows_BD in blocks:
            checked_rows("bank.embeddings", rows_BD, teacher.dimension)
            if len(texts) != len(rows_BD):
                raise DataError(
                    "bank.embeddings",
                    f"expected one row per text ({len(texts)}), got {len(rows_BD)}",
                    "Embed exactly the texts that are passed",
                )
            kept = []
            for place, text in enumerate(texts):
                data = text.encode("utf-8")
                if (key := blake2b(data, digest_size=16).digest()) not in seen:
                    seen.add(key)
                    kept.append(place)
                    texts_file.write(data)
                    offsets.append(offsets[-1] + len(data))
            rows_file.write(np.ascontiguousarray(rows_BD[kept], dtype="<f4").tobytes())
        count = len(offsets) - 1
        if not count:
            raise DataError("bank.texts", "expected at least one text, got none", "Add texts")
        rows_file.seek(0)
        rows_file.write(_header(count, teacher.dimension))
        for file in (rows_file, texts_file):
            _sync(file)
    with (part / OFFSETS).open("wb") as file:
        np.save(file, np.array(offsets, dtype="<i8"), allow_pickle=False)
        _sync(file)
    digests = {name: file_sha256(part / name).hex() for name in (ROWS, TEXTS, OFFSETS)}
    settings = BankSettings(teacher=teacher, sentences=count, sha256=digests)
    write_text(part / BANK, _json(settings), "--output")
    return count


def read_bank(folder: Path) -> BankFiles:
    """Map the files of a bank, after comparing all of them with their digests.

    Args:
        folder: that :func:`write_bank` wrote.

    Raises:
        CheckpointError: a file is missing, damaged, or belongs to other files.
    """
    path = folder / BANK
    if not path.is_file():
        raise CheckpointError(
            str(folder),
            f"expected the folder of a bank, got one without {BANK}",
            "Name a folder that latticegraph bank wrote",
        )
    try:
        text = path.read_bytes().decode("utf-8")
        settings = BankSettings.model_validate(parse_json(text))
    except ValidationError as error:
        raise _damaged(path, str(config_error(error, BankSettings))) from error
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if _json(settings) != text:
        raise _damaged(path, "keys that are missing or of another version")
    try:
        for name, digest in settings.sha256.items():
            if file_sha256(folder / name).hex() != digest:
                raise _damaged(folder / name, "other bytes than bank.json names")
        rows_ND = np.load(folder / ROWS, mmap_mode="r", allow_pickle=False)
        offsets = np.load(folder / OFFSETS, allow_pickle=False)
        texts = np.memmap(folder / TEXTS, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise _damaged(folder, str(error)) from error
    shape = (settings.sentences, settings.teacher.dimension)
    ends = offsets[[0, -1]].tolist() if offsets.shape == (shape[0] + 1,) else None
    if rows_ND.shape != shape or rows_ND.dtype != np.float32 or ends != [0, len(texts)]:
        raise _damaged(folder, f"rows of shape {rows_ND.shape} and texts that do not match")
    return BankFiles(settings.teacher, rows_ND, texts, offsets)


def _header(rows: int, width: int) -> bytes:
    buffer = io.BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
    np.lib.format.write_array_header_1_0(buffer, shape)
    header = buffer.getvalue()
    assert len(header) == _HEADER_BYTES, "the header fits the space left for it"
    return header


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _json(settings: BankSettings) -> str:
    return json.dumps(settings.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def _damaged(path: Path, found: str) -> CheckpointError:
    return CheckpointError(
        str(path),
        f"expected a whole file of this bank, got {found}",
        "Copy the whole folder again, or build it again",
    )
