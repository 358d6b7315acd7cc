"""Dotted overrides from the command line: ``model.dynamics.steps=12``."""

from __future__ import annotations

from typing import Any, get_args, get_origin

import yaml

from latticegraph.config.keys import find, members, names_in, section_of
from latticegraph.errors import ConfigError


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Write one ``dotted.key=value`` into ``tree``.

    The value is read as YAML; text stays text, and a comma-separated value fills a list. Keys
    that do not exist are written too: the check of the whole tree reports them.

    Args:
        tree: sections and keys as read from a file; changed in place.
        override: the key and its value.

    Raises:
        ConfigError: when it is not ``key=value``, reaches below a value, or is no YAML.
    """
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(
            "--set", f"expected dotted.key=value, got '{override}'", "Write for example run.seed=1"
        )
    node = tree
    for index, part in enumerate(parts[:-1]):
        where = ".".join(parts[: index + 1])
        setting, _ = find(parts[: index + 1])
        if setting is not None and section_of(setting.annotation) is None:
            raise ConfigError(
                ".".join(parts),
                f"expected the key of a value, got a key below '{where}'",
                f"Set {where} as a whole",
            )
        child = node.get(part)
        if child is None:
            child = node[part] = {}
        if not isinstance(child, dict):
            raise ConfigError(
                where, f"expected a section with keys, got {child!r}", "Correct it in the file"
            )
        node = child
    node[parts[-1]] = _value(parts, text.strip())


def _value(parts: list[str], text: str) -> Any:
    setting, _ = find(parts)
    annotation = None if setting is None else setting.annotation
    try:
        value = _read(text, annotation)
    except yaml.YAMLError as error:
        raise ConfigError(
            ".".join(parts), f"expected a YAML value, got '{text}'", "Quote special characters"
        ) from error
    if section_of(annotation) is not None and not isinstance(value, dict):
        known = names_in(".".join(parts))
        raise ConfigError(
            ".".join(parts),
            f"expected a section with keys, got '{text}'",
            f"Set one of its keys: {', '.join(known)}",
        )
    return value


def _read(text: str, annotation: Any) -> Any:
    """The value that ``text`` stands for where a value of type ``annotation`` is wanted."""
    if text[:1] in ("[", "{", "'", '"') or text in ("", "null", "~"):
        return yaml.safe_load(text)
    kinds = members(annotation)
    if str in kinds:
        return text
    lists = [kind for kind in kinds if get_origin(kind) is tuple]
    if not lists:
        return yaml.safe_load(text)
    if float in kinds and _is_number(text):
        return float(text)
    items = [item.strip() for item in text.removesuffix(",").split(",")]
    if get_args(lists[0])[0] is str:
        return items
    return [yaml.safe_load(item) for item in items]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
