"""Settings that name a built-in kind or a class outside the package."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated

from pydantic import Field

Kind = Annotated[str, Field(min_length=1)]
"""Name of a built-in kind, or a class path (:mod:`latticegraph.plugins`)."""


def check_kind(key: str, kind: str, built_in: Sequence[str]) -> None:
    """Refuse what is neither a built-in kind nor a class path.

    Args:
        key: name of the setting within its section.
        kind: its value.
        built_in: names of the built-in kinds.

    Raises:
        ValueError: listing the built-in kinds, with the closest one.
    """
    if kind in built_in or ":" in kind:
        return
    close = get_close_matches(kind, built_in, 1)
    raise ValueError(
        f"{key}: expected {', '.join(built_in)}, or a class path such as file.py:Class, got "
        f"'{kind}'; {f'did you mean {close[0]}?' if close else 'choose one of them'}"
    )
