"""Files that are written whole or not at all, and digests of tensors."""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from latticegraph.errors import ConfigError

_SUFFIX = ".partial"


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file in the same folder, sync it, and put it in place.

    Whatever fails, ``path`` holds what it held before, and the temporary file is gone; after a kill
    it is left for :func:`remove_partial_files`.

    Args:
        path: the file to make or replace.
        write: called with the temporary path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_SUFFIX}")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_partial_files(folder: Path) -> list[Path]:
    """Delete what a killed process left half written; returns what was deleted."""
    found = sorted(folder.glob(f".*{_SUFFIX}"))
    for path in found:
        path.unlink(missing_ok=True)
    return found


def write_text(path: Path, text: str, where: str) -> None:
    """Write ``text`` as UTF-8 with line ends LF; folders are made where missing.

    Args:
        path: the file to make or replace.
        text: its whole content.
        where: the option or dotted key that chose ``path``, for the message.

    Raises:
        ConfigError: when the disk is full or the folder refuses.
    """
    write_bytes(path, text.encode("utf-8"), where)


def write_bytes(path: Path, data: bytes, where: str) -> None:
    """Write ``data`` as it is; see :func:`write_text`."""
    try:
        replace_file(path, lambda temporary: temporary.write_bytes(data))
    except OSError as error:
        raise ConfigError(
            where,
            f"expected to write '{path}', got: {error.strerror or error}",
            "Free disk space, or choose a writable folder",
        ) from error


def write_json(path: Path, value: Mapping[str, Any], where: str) -> None:
    """Write ``value`` as indented JSON; see :func:`write_text`."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n", where)


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut; Windows cannot open a folder."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
