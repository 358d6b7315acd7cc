"""Files that are written whole or not at all, and digests of tensors."""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
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
            where, f"expected to write '{path}', got: {error.strerror or error}", advice(error)
        ) from error


def advice(error: BaseException) -> str:
    """What to do about a file that cannot be written; disk space where that is what lacks."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    full = full or "os error 28" in str(error)  # as safetensors passes it on
    return "Free disk space" if full else "Choose a folder that can be written"


def check_writable(folder: Path, where: str) -> None:
    """Check that ``folder`` can be made and written, before work whose result it shall hold.

    A folder is made where the first missing one would lie, and removed.

    Args:
        folder: need not exist.
        where: the option or dotted key that chose it, for the message.

    Raises:
        ConfigError: it cannot, or something on the way is no folder.
    """
    try:
        present = folder
        while not present.exists() and present != present.parent:
            present = present.parent
        if not present.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        tempfile.TemporaryDirectory(prefix=".writable-", dir=present).cleanup()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            where,
            f"expected a folder that can be made and written, got '{folder}': {reason}",
            advice(error),
        ) from error


def parse_json(text: str) -> Any:
    """The value that JSON text stands for.

    Raises:
        ValueError: it is no JSON, too deep for the reader, or has a number of thousands of digits.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("values too deep in each other") from error


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
