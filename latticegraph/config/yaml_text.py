"""YAML as settings need it: bounded in size, and nothing that is not what it looks like."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    Event,
    NodeEvent,
    ScalarEvent,
)

MERGE = "tag:yaml.org,2002:merge"
# All settings with their defaults make about 8 kB, 300 values, 4 deep.
LARGEST_BYTES = 2**18
MOST_VALUES = 20_000
DEEPEST = 30
LONGEST_NUMBER = 100  # digits

_TAG = "tag:yaml.org,2002:"
# Those of PyYAML, but for numbers of base 60.
_NUMBERS = {
    f"{_TAG}int": re.compile(
        r"[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$",
    ),
    f"{_TAG}float": re.compile(
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?$"
        r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
    ),
}


class _StrictLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys and takes any key; here both are errors.

    YAML 1.1 also reads ``1:30`` as ninety and ``2024-01-02`` as a date; here both are text.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """One mapping, once its keys are known to be text and to differ."""
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == MERGE:
                continue
            mark = key_node.start_mark
            if key_node.tag != self.DEFAULT_SCALAR_TAG:
                raise ConstructorError(
                    problem=f"a key that is no text, '{key_node.value}'", problem_mark=mark
                )
            if key_node.value in seen:
                first = seen[key_node.value]
                raise ConstructorError(
                    problem=f"the key '{key_node.value}' again, first on line {first}",
                    problem_mark=mark,
                )
            seen[key_node.value] = mark.line + 1
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """A number that Python can read, of at most :data:`LONGEST_NUMBER` digits."""
        if len(node.value) > LONGEST_NUMBER:
            raise ConstructorError(
                problem=f"a number of {len(node.value)} digits", problem_mark=node.start_mark
            )
        number: int | float
        try:
            if node.tag == f"{_TAG}int":
                number = self.construct_yaml_int(node)
            else:
                number = self.construct_yaml_float(node)
        except ValueError as error:  # 0b_ and the like
            raise ConstructorError(
                problem=f"'{node.value}', which is no number", problem_mark=node.start_mark
            ) from error
        return number


_StrictLoader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in (*_NUMBERS, f"{_TAG}timestamp", f"{_TAG}value")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in _NUMBERS.items():
    _StrictLoader.add_implicit_resolver(_tag, _pattern, list("-+0123456789."))
    _StrictLoader.add_constructor(_tag, _StrictLoader.construct_number)


def parse_yaml(text: str) -> Any:
    """The value that ``text`` stands for.

    Refused are two equal keys, keys that are no text, tags, aliases of what they stand in, and what
    is longer, deeper or, with its aliases written out, larger than any configuration.

    Args:
        text: one YAML document.

    Raises:
        yaml.YAMLError: saying what is wrong, with its place where it has one.
    """
    if len(text.encode("utf-8", "replace")) > LARGEST_BYTES:
        raise yaml.YAMLError(f"more than {LARGEST_BYTES:,} bytes, far more than all settings take")
    _check_size(yaml.parse(text, _StrictLoader))
    return yaml.load(text, _StrictLoader)


def _check_size(events: Iterator[Event]) -> None:
    """Count values before anything is built, for building recurses and follows aliases."""
    # Values met before each open collection, and its anchor.
    opened: list[tuple[int, str | None]] = []
    size_of: dict[str, int] = {}
    count = 0
    for event in events:
        if isinstance(event, CollectionEndEvent):
            before, anchor = opened.pop()
            if anchor is not None:
                size_of[anchor] = count - before
            continue
        if not isinstance(event, NodeEvent):
            continue
        if isinstance(event, AliasEvent):
            if event.anchor in (anchor for _, anchor in opened):
                _refuse(event, f"the alias '*{event.anchor}' of what it stands in")
            # An unknown alias is reported when the text is loaded.
            count += size_of.get(str(event.anchor), 1)
        else:
            count += 1
            _check_tag(event)
        if isinstance(event, CollectionStartEvent):
            opened.append((count - 1, event.anchor))
            if len(opened) > DEEPEST:
                _refuse(event, f"values more than {DEEPEST} levels deep")
        elif isinstance(event, ScalarEvent) and event.anchor is not None:
            size_of[event.anchor] = 1
        if count > MOST_VALUES:
            _refuse(event, f"more than {MOST_VALUES:,} values, aliases written out")


def _check_tag(event: NodeEvent) -> None:
    if getattr(event, "tag", None) not in (None, "!"):
        _refuse(event, f"the tag '{getattr(event, 'tag', None)}', which no setting needs")


def _refuse(event: Any, problem: str) -> None:
    raise ConstructorError(problem=problem, problem_mark=event.start_mark)
