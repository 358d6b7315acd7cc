"""Dotted keys of a configuration: list them, look them up, and suggest similar ones."""

from __future__ import annotations

import difflib
import types
from collections.abc import Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from latticegraph.config.root import Config


def all_keys(model: type[BaseModel] = Config, prefix: str = "") -> list[str]:
    """Every dotted key of the tree, sections included."""
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if section_of(field.annotation):
            keys += all_keys(field.annotation, f"{prefix}{name}.")  # type: ignore[arg-type]
    return keys


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The settings class an annotation stands for; None for a value."""
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_section else None


def members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union; the annotation itself where it is none."""
    is_union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if is_union else (annotation,)


def find(
    parts: Sequence[str | int], root: type[BaseModel] = Config
) -> tuple[FieldInfo | None, tuple[str | int, ...]]:
    """Follow ``parts`` down the tree, through lists of sections too.

    Args:
        parts: names of keys and positions in lists; pydantic adds the names of union members.
        root: the tree.

    Returns:
        The last setting passed (None where there is none), and the parts that name a place in the
        configuration.
    """
    annotation: Any = root
    setting: FieldInfo | None = None
    place: list[str | int] = []
    for part in parts:
        section = section_of(annotation)
        if section is not None:
            place.append(part)
            setting = section.model_fields.get(str(part))
            annotation = None if setting is None else setting.annotation
        elif isinstance(part, int):
            place.append(part)
            annotation = get_args(annotation)[0] if get_origin(annotation) is tuple else None
        elif annotation is None:
            place.append(part)
    return setting, tuple(place)


def suggest(key: str, root: type[BaseModel] = Config) -> list[str]:
    """Existing keys that an unknown ``key`` may stand for, best first; at most three.

    A neighbour in the same section comes first, then the same or a similar name in the same
    top-level section, then anywhere.

    Args:
        key: dotted.
        root: the tree.
    """
    section, _, leaf = key.rpartition(".")
    inside = names_in(section, root)
    similar = difflib.get_close_matches(leaf, inside, n=1, cutoff=0.6)
    if similar:
        return [_join(section, similar[0])]
    known = _keys_with_list_items(root)
    near = [k for k in known if section and k.startswith(section.partition(".")[0] + ".")]
    for pool in (near, known):
        leaves = dict.fromkeys(k.rpartition(".")[2] for k in pool)
        similar = difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.7)
        if similar:
            return [k for k in pool if k.rpartition(".")[2] == similar[0]][:3]
    return []


def names_in(section: str, root: type[BaseModel] = Config) -> list[str]:
    """Names of the keys directly inside a section ("": the top level) of the tree ``root``."""
    annotation: Any = root
    for part in section.split(".") if section else ():
        model = section_of(annotation)
        if model is not None and part in model.model_fields:
            annotation = model.model_fields[part].annotation
        elif part.isdigit() and get_origin(annotation) is tuple:
            annotation = get_args(annotation)[0]
        else:
            return []
    model = section_of(annotation)
    return [] if model is None else list(model.model_fields)


def _keys_with_list_items(root: type[BaseModel]) -> list[str]:
    keys = []
    for key in all_keys(root):
        keys.append(key)
        setting, _ = find(key.split("."), root)
        arguments = get_args(setting.annotation) if setting is not None else ()
        item = section_of(arguments[0]) if arguments else None
        if item is not None:
            keys += all_keys(item, f"{key}.0.")
    return keys


def _join(section: str, name: str) -> str:
    return f"{section}.{name}" if section else name
