"""Text and JSON files that appear whole or not at all, or an error that says why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latticegraph.errors import ConfigError
from latticegraph.training.atomic import replace_file


def write_text(path: Path, text: str, where: str) -> None:
    """Write ``text`` as UTF-8 with line ends LF; folders are made where missing.

    Args:
        path: the file to make or replace.
        text: its whole content.
        where: the option or dotted key that chose ``path``, for the message.

    Raises:
        ConfigError: when the disk is full or the folder refuses.
    """
    data = text.encode("utf-8")
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
