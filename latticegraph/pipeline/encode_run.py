"""Encode text of any length with a saved model, and bring codes back, block by block.

Legend: B rows of a block, D teacher width, S surface width.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import torch

from latticegraph.decoding import Decoder
from latticegraph.decoding.decoder import check_k
from latticegraph.errors import ConfigError, DataError
from latticegraph.files import write_text
from latticegraph.hub import LatticeModel
from latticegraph.hub.row_files import Rows, RowWriter, check_suffix, read_rows

_log = logging.getLogger(__name__)

BLOCK_ROWS = 1024
LOG_EVERY = 16  # blocks
STANDARD_INPUT = "-"
EMBEDDINGS: Literal["embedding"] = "embedding"
CODES: Literal["code"] = "code"


Block = list[str] | Rows
"""Texts or rows on their way from the input to the output."""

Records = list[dict[str, Any]]
"""JSON objects, one a line of the output."""


def encode_file(
    model: LatticeModel, source: str, output: Path, *, codes: bool = False, batch_size: int = 256
) -> int:
    """Write the predicted embedding, or the code, of every line of a text.

    Not more than 1,024 lines are in memory. What is finished survives a kill; the same call goes on
    from there where the input is a file.

    Args:
        model: encodes.
        source: text file, one text per line; ``-``: standard input; or .npy or .safetensors of
            teacher embeddings (tensor ``embedding``).
        output: .npy, .safetensors or .jsonl.
        codes: write the S numbers that enter the lattice in place of the prediction.
        batch_size: samples per forward pass.

    Returns:
        Number of rows.

    Raises:
        ConfigError: the output cannot be written, or is of another kind.
        DataError: a line cannot be read or is empty.
        TeacherError: the teacher is another one or cannot embed a text.
    """
    width = model.student.surface_width if codes else model.student.teacher_dimension
    name: Literal["embedding", "code"] = CODES if codes else EMBEDDINGS
    path = Path(source)
    if source != STANDARD_INPUT and path.suffix in (".npy", ".safetensors"):
        wanted = model.student.teacher_dimension
        blocks: Iterator[Block] = read_rows(path, [EMBEDDINGS], wanted, BLOCK_ROWS)
    else:
        blocks = text_blocks(source)

    def compute(block: Block) -> Rows:
        if isinstance(block, list):
            return model.encode(block, batch_size, output=name)
        source_BD = torch.from_numpy(np.array(block))
        how = model.to_codes if codes else model.predict
        result_BW: Rows = how(source_BD, batch_size).float().numpy()
        return result_BW

    job = _Job(output, name, width, f"{name} of {model.digest()}")
    return job.run(blocks, compute, resumable=source != STANDARD_INPUT)


def decode_file(
    model: LatticeModel,
    source: Path,
    output: Path,
    batch_size: int = 256,
    decoder: Path | None = None,
    texts: int = 1,
) -> int:
    """Write the predicted embedding of every code in a file, or texts; see :func:`encode_file`.

    Args:
        model: decodes.
        source: .npy, .safetensors or .jsonl with codes.
        output: .npy, .safetensors or .jsonl; with a decoder .jsonl.
        batch_size: samples per forward pass.
        decoder: folder of a bank or of a decoder that writes; every line then holds ``texts``, each
            with ``text`` and ``score``, in place of the embedding.
        texts: texts of every line, best first; fewer where there are not as many.
    """
    read = read_rows(source, [CODES], model.student.surface_width, BLOCK_ROWS)

    def compute(block: Block) -> Rows:
        codes_BS = torch.from_numpy(np.array(block))
        result_BD: Rows = model.from_codes(codes_BS, batch_size).float().numpy()
        return result_BD

    what, width = f"decode by {model.digest()}", model.student.teacher_dimension
    if decoder is None:
        return _Job(output, EMBEDDINGS, width, what).run(read, compute, resumable=True)
    if output.suffix != ".jsonl":
        raise ConfigError(
            "--output", f"expected .jsonl for texts, got '{output.name}'", "Choose texts.jsonl"
        )
    opened = model_decoder(model, decoder)
    check_k(texts, opened.most)

    def compute_texts(block: Block) -> Records:
        decoded = opened.decode(compute(block), texts)
        return [{"texts": [{"text": t.text, "score": t.score} for t in row]} for row in decoded]

    job = _Job(output, EMBEDDINGS, width, f"{what}, {texts} texts by {decoder.resolve()}")
    return job.run(read, compute_texts, resumable=True)


def model_decoder(model: LatticeModel, folder: Path) -> Decoder:
    """The decoder in a folder, for the embeddings of this model.

    Args:
        model: with its teacher.
        folder: of a bank or of a decoder that writes.

    Raises:
        CheckpointError: the folder is none of a decoder, or damaged.
        TeacherError: the decoder belongs to another teacher than the model.
    """
    from latticegraph.decoding.open_folder import open_decoder

    teacher = model.teacher
    return open_decoder(folder, teacher.name, teacher.fingerprint, teacher.encode)


class _Job:
    """Blocks in, rows out; keeps count of what is done."""

    def __init__(self, output: Path, name: str, width: int, what: str) -> None:
        check_suffix(output, "--output")
        self._writer = RowWriter(output, name, width)
        self._progress = output.with_name(f".{output.name}.progress.json")
        self._output, self._what = output, what

    def run(
        self,
        blocks: Iterable[Block],
        compute: Callable[[Block], Rows | Records],
        resumable: bool,
    ) -> int:
        done = self._finished() if resumable else None
        rows, digest, is_open = 0, hashlib.sha256(self._what.encode("utf-8")), False
        for index, block in enumerate(blocks):
            digest.update(_digest(block))
            rows += len(block)
            if done is not None and rows <= done["rows"]:
                if rows == done["rows"]:
                    self._go_on(done, digest.hexdigest())
                    is_open = True
                continue
            if not is_open:
                if done is not None:
                    self._changed()
                self._writer.open()
                is_open = True
            made = compute(block)
            if isinstance(made, list):
                self._writer.append_records(made)
            else:
                self._writer.append(made, block if isinstance(block, list) else None)
            state = {"rows": rows, "bytes": self._writer.length, "sha256": digest.hexdigest()}
            write_text(self._progress, json.dumps(state) + "\n", "--output")
            if (index + 1) % LOG_EVERY == 0:
                _log.info("%s rows", f"{rows:,}")
        if rows == 0:
            raise DataError(
                "--input", "expected at least one row, got none", "Name a file with text"
            )
        if done is not None and rows < done["rows"]:
            self._changed()
        self._writer.finish()
        self._progress.unlink(missing_ok=True)
        return rows

    def _finished(self) -> dict[str, Any] | None:
        try:
            state = json.loads(self._progress.read_text("utf-8"))
            return {"rows": int(state["rows"]), "bytes": int(state["bytes"]), **state}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                "--output",
                f"expected the progress of an earlier call in '{self._progress}', got: {error}",
                "Delete it, and start again",
            ) from error

    def _go_on(self, done: dict[str, Any], digest: str) -> None:
        if digest != done["sha256"]:
            self._changed()
        _log.info("going on behind %s rows of an earlier call", f"{done['rows']:,}")
        self._writer.open(done["bytes"])

    def _changed(self) -> None:
        raise ConfigError(
            "--output",
            f"expected to go on with '{self._output}', got other text, another model or other "
            "options than the call before",
            f"Delete '{self._progress}' to start again",
        )


def _digest(block: Block) -> bytes:
    data = "\n".join(block).encode("utf-8") if isinstance(block, list) else block.tobytes()
    return hashlib.sha256(data).digest()


def text_blocks(source: str) -> Iterator[list[str]]:
    """Lines in blocks; every line is a text, so that row i belongs to line i.

    Args:
        source: UTF-8 file; ``-``: standard input.

    Raises:
        DataError: a line cannot be read or is empty.
    """
    if source == STANDARD_INPUT:
        yield from _blocks(sys.stdin.buffer, "standard input")
        return
    try:
        with Path(source).expanduser().open("rb") as file:
            yield from _blocks(file, source)
    except OSError as error:
        raise DataError(
            source, f"expected a file of text, got: {error.strerror}", "Correct --input"
        ) from error


def _blocks(file: BinaryIO, where: str) -> Iterator[list[str]]:
    block: list[str] = []
    for number, raw in enumerate(file, start=1):
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{where}:{number}", "expected UTF-8 text, got other bytes", "Save it as UTF-8"
            ) from error
        if not text:
            raise DataError(
                f"{where}:{number}",
                "expected a text on every line, got an empty one",
                "Remove the line; row i of the result belongs to line i",
            )
        block.append(text)
        if len(block) == BLOCK_ROWS:
            yield block
            block = []
    if block:
        yield block
