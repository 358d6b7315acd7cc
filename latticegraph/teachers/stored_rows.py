"""Precomputed embeddings in files: .npy, .safetensors, .pt, or a folder of .pt files.

Legend: N rows, D width.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latticegraph.errors import TeacherError

SUFFIXES = (".npy", ".safetensors", ".pt")
ROWS, TEXTS = "embeddings", "texts"

Rows = np.ndarray[Any, Any]


@dataclass(frozen=True)
class StoredRows:
    """Rows, and the texts they belong to where the files hold them.

    Attributes:
        parts: arrays of floats [n, D], one of each file, memory-mapped where the format allows.
        texts: text of every row, in order; None where no file holds texts.
        files: that were read, in order.
    """

    parts: Sequence[Rows]
    texts: Sequence[str] | None
    files: Sequence[Path]

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.parts[0].shape[1])

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def take(self, places: Sequence[int]) -> Rows:
        """Some rows, as float32.

        Args:
            places: their numbers, counted over all files.

        Shapes:
            [len(places), D]
        """
        found = np.empty((len(places), self.dimension), dtype=np.float32)
        wanted = np.asarray(places, dtype=np.int64)
        start = 0
        for part in self.parts:
            here = np.flatnonzero((wanted >= start) & (wanted < start + len(part)))
            found[here] = part[wanted[here] - start]
            start += len(part)
        return found


def open_rows(path: Path) -> StoredRows:
    """Open a file of rows, or all .pt files of a folder in the order of their numbers.

    ``.npy``: an array [N, D]. ``.safetensors``: a tensor ``embeddings`` [N, D], or the only one
    there is. ``.pt``: such a tensor, or a mapping with ``embeddings`` and, if wanted, ``texts``, a
    list of N strings. Nothing is unpickled but tensors, strings, lists and mappings.

    Args:
        path: file or folder.

    Raises:
        TeacherError: it is missing, of another kind, damaged, or holds something else.
    """
    files = [path]
    if path.is_dir():
        files = sorted(path.glob("*.pt"), key=_by_number)
        if not files:
            raise _wrong(path, "a folder without .pt files", "Name a folder of tensor caches")
    elif not path.exists():
        raise _wrong(path, "a path that is not there", "Set teacher.name to the file of rows")
    opened = [_open(file) for file in files]
    parts = [_checked(file, rows) for file, (rows, _) in zip(files, opened, strict=True)]
    texts: list[str] = []
    for file, part, (_, own) in zip(files, parts, opened, strict=True):
        if part.shape[1] != parts[0].shape[1]:
            found = f"rows of {part.shape[1]} numbers after rows of {parts[0].shape[1]}"
            raise _wrong(file, found, "Keep embeddings of one teacher in a folder")
        if (own is None) != (opened[0][1] is None):
            raise _wrong(file, f"{TEXTS} in some files only", "Store them in every file or in none")
        if own is not None and len(own) != len(part):
            found = f"{len(own)} {TEXTS} for {len(part)} rows"
            raise _wrong(file, found, "Store one text for every row")
        texts += own or ()
    return StoredRows(parts, None if opened[0][1] is None else texts, files)


def _open(path: Path) -> tuple[Any, list[str] | None]:
    ways: dict[str, Callable[[Path], tuple[Any, list[str] | None]]] = {
        ".npy": lambda file: (np.load(file, mmap_mode="r", allow_pickle=False), None),
        ".safetensors": _from_safetensors,
        ".pt": _from_pt,
    }
    if path.suffix not in ways:
        raise _wrong(path, f"the suffix '{path.suffix}'", "Name one of these files")
    try:
        return ways[path.suffix](path)
    except TeacherError:
        raise
    except pickle.UnpicklingError as error:
        raise _wrong(
            path,
            "a pickle of something else, which is not loaded",
            'Write it with torch.save({"embeddings": tensor, "texts": list of str}, path)',
        ) from error
    except (OSError, ValueError, EOFError, RuntimeError, KeyError) as error:
        raise _wrong(path, "a file that is damaged or none", "Write it anew") from error


def _from_safetensors(path: Path) -> tuple[Any, None]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            held = list(file.keys())
            if ROWS not in held and len(held) != 1:
                names = ", ".join(sorted(held)) or "none"
                raise _wrong(path, f"the tensors {names}", f"Name one of them '{ROWS}'")
            return file.get_tensor(ROWS if ROWS in held else held[0]), None
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _from_pt(path: Path) -> tuple[Any, list[str] | None]:
    import torch

    found: Any = torch.load(path, map_location="cpu", weights_only=True)
    texts = None
    if isinstance(found, dict):
        found, texts = found.get(ROWS), found.get(TEXTS)
    if texts is not None and not (
        isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    ):
        raise _wrong(path, f"{TEXTS} that are no list of strings", "Store a list of strings")
    if not isinstance(found, torch.Tensor):
        raise _wrong(path, f"{type(found).__name__} in place of a tensor", f"Store '{ROWS}'")
    if found.dtype == torch.bfloat16:
        found = found.float()
    return found.detach().numpy(), texts


def _checked(path: Path, rows: Any) -> Rows:
    if isinstance(rows, np.ndarray):
        if rows.ndim == 2 and rows.dtype.kind == "f" and 0 not in rows.shape:
            return rows
        found = f"{rows.dtype} {list(rows.shape)}"
    else:
        found = "an archive"
    raise _wrong(path, found, "Write one row of floats for every text")


def _wrong(path: Path, found: str, action: str) -> TeacherError:
    kinds = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
    problem = f"expected floats of shape [texts, dimension] in a {kinds} file, got {found}"
    return TeacherError("teacher.name", f"{problem} ('{path}')", action)


def _by_number(path: Path) -> tuple[Any, ...]:
    """``part10`` behind ``part9``."""
    pieces = re.split(r"(\d+)", path.name)
    return tuple((int(piece), "") if piece.isdigit() else (-1, piece) for piece in pieces)
