"""Dotted overrides from the command line: ``model.dynamics.steps=12``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel

from latticegraph.config.keys import find, members, names_in, section_of
from latticegraph.config.root import Config
from latticegraph.config.yaml_text import parse_yaml
from latticegraph.errors import ConfigError


def apply_override(tree: dict[str, Any], override: str, root: type[BaseModel] = Config) -> None:
    """Write one ``dotted.key=value`` into ``tree``.

    The value is read as YAML; text stays text, and a comma-separated value fills a list. A number
    in the key counts the elements of a list from 0 (``training.phases.0.updates``). Keys that do
    not exist are written too: the check of the whole tree reports them.

    Args:
        tree: sections and keys as read from a file; changed in place.
        override: the key and its value.
        root: the class of the tree.

    Raises:
        ConfigError: when it is not ``key=value``, reaches below a value, or is no YAML.
    """
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(
            "--set", f"expected dotted.key=value, got '{override}'", "Write for example run.seed=1"
        )
    node: Any = tree
    for index in range(len(parts) - 1):
        node = _below(node, parts, index, root)
    last = _position(node, parts, len(parts) - 1) if isinstance(node, list) else parts[-1]
    node[last] = _value(parts, text.strip(), root)


def _below(node: Any, parts: list[str], index: int, root: type[BaseModel]) -> Any:
    """The section or the list of sections that ``parts[index]`` names, made where missing."""
    where = ".".join(parts[: index + 1])
    kind: type = dict
    if isinstance(node, list):
        child = node[_position(node, parts, index)]
    else:
        setting, _ = find(_numbered(parts[: index + 1]), root)
        annotation = None if setting is None else setting.annotation
        child = node.get(parts[index])
        if setting is not None and _holds_sections(annotation):
            kind = list
            if child is None:  # the default, so that one value of it can be changed
                child = [section.model_dump(mode="json") for section in setting.default]
        elif setting is not None and section_of(annotation) is None:
            raise ConfigError(
                ".".join(parts),
                f"expected the key of a value, got a key below '{where}'",
                f"Set {where} as a whole",
            )
        node[parts[index]] = child = {} if child is None else child
    if not isinstance(child, kind):
        wanted = "a list of sections" if kind is list else "a section with keys"
        raise ConfigError(where, f"expected {wanted}, got {child!r}", "Correct it in the file")
    return child


def _position(node: list[Any], parts: list[str], index: int) -> int:
    """Which element of a list ``parts[index]`` names."""
    part = parts[index]
    if part.isdecimal() and int(part) < len(node):
        return int(part)
    raise ConfigError(
        ".".join(parts),
        f"expected a position from 0 to {len(node) - 1} in {'.'.join(parts[:index])}, got '{part}'",
        "Correct the position, or set the list as a whole",
    )


def _numbered(parts: Sequence[str]) -> list[str | int]:
    return [int(part) if part.isdecimal() and len(part) < 10 else part for part in parts]


def _holds_sections(annotation: Any) -> bool:
    """Whether a value is a list of sections, such as the phases."""
    return get_origin(annotation) is tuple and section_of(get_args(annotation)[0]) is not None


def _value(parts: list[str], text: str, root: type[BaseModel]) -> Any:
    setting, _ = find(_numbered(parts), root)
    annotation = None if setting is None else setting.annotation
    try:
        value = _read(text, annotation)
    except yaml.YAMLError as error:
        raise ConfigError(
            ".".join(parts), f"expected a YAML value, got '{text}'", "Quote special characters"
        ) from error
    if section_of(annotation) is not None and not isinstance(value, dict):
        known = names_in(".".join(parts), root)
        raise ConfigError(
            ".".join(parts),
            f"expected a section with keys, got '{text}'",
            f"Set one of its keys: {', '.join(known)}",
        )
    return value


def _read(text: str, annotation: Any) -> Any:
    """The value that ``text`` stands for where a value of type ``annotation`` is wanted."""
    if text[:1] in ("[", "{", "'", '"') or text in ("", "null", "~"):
        return parse_yaml(text)
    kinds = members(annotation)
    if str in kinds:
        return text
    lists = [kind for kind in kinds if get_origin(kind) is tuple]
    if not lists:
        return parse_yaml(text)
    if float in kinds and _is_number(text):
        return float(text)
    items = [item.strip() for item in text.removesuffix(",").split(",")]
    if get_args(lists[0])[0] is str:
        return items
    return [parse_yaml(item) for item in items]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
