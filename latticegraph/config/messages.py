"""Converts pydantic errors to ConfigError."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from latticegraph.config.keys import find, names_in, suggest
from latticegraph.config.root import Config
from latticegraph.errors import ConfigError

EXPECTED = {
    "greater_than": "a number above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "at most {le}",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "truth_value": "a number, not true or false",
    "truth_values": "numbers, not true or false",
    "model_type": "a section with keys",
    "literal_error": "{expected}",
}
LONGEST = 80  # characters of a value quoted in a message


def config_error(error: ValidationError, root: type[BaseModel] = Config) -> ConfigError:
    """Convert the first problem of ``error``.

    Args:
        error: of pydantic.
        root: the class of the tree.
    """
    problems = [(_place(p, root), p) for p in error.errors()]
    place, problem = problems[0]
    # The members of a union each report: the one that got further in fits the value better.
    deeper = [x for x in problems if len(x[0]) > len(place) and x[0][: len(place)] == place]
    if deeper:
        place, problem = deeper[0]
    key = ".".join(map(str, place))
    kind, value = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        return _unknown_key(key, root)
    if kind == "missing":
        if isinstance(problem["loc"][-1], int):
            last = max(p["loc"][-1] for at, p in problems if at == place)
            return _wrong(key, _count(int(last) + 1), f"{len(value)} ({_shown(value)})", root)
        return ConfigError(key, "expected a value, got nothing", f"Add {key}")
    if kind == "value_error":
        return _from_validator(key, str(problem["ctx"]["error"]))
    if kind == "too_long":
        longest = problem["ctx"]["max_length"]
        return _wrong(key, _count(longest), f"{len(value)} ({_shown(value)})", root)
    if kind == "too_short":
        fewest = _count(problem["ctx"]["min_length"])
        return _wrong(key, f"at least {fewest}", _shown(value), root)
    expected = " or ".join(dict.fromkeys(_expected(p) for at, p in problems if at == place))
    return _wrong(key, expected, _shown(value), root)


def _place(problem: Any, root: type[BaseModel]) -> tuple[str | int, ...]:
    location = problem["loc"]
    if problem["type"] == "missing" and location and isinstance(location[-1], int):
        location = location[:-1]
    return find(location, root)[1]


def _expected(problem: Any) -> str:
    text = EXPECTED.get(problem["type"])
    if text is None:
        return str(problem["msg"]).removeprefix("Input should be ")
    bounds = {
        key: f"{value:g}" if isinstance(value, float) else value
        for key, value in problem.get("ctx", {}).items()
    }
    return text.format(**bounds)


def _wrong(key: str, expected: str, found: str, root: type[BaseModel]) -> ConfigError:
    setting, _ = find([int(p) if p.isdigit() else p for p in key.split(".")], root)
    about = setting.description if setting is not None else None
    return ConfigError(
        key,
        f"expected {expected}, got {found}",
        f"Correct the value ({about})" if about else "Correct the value",
    )


def _count(number: int) -> str:
    return f"{number} value" if number == 1 else f"{number} values"


def _shown(value: Any) -> str:
    """A value as it stands in a YAML file."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        text = f"[{', '.join(map(_shown, value))}]"
    elif isinstance(value, dict):
        text = f"{{{', '.join(f'{k}: {_shown(v)}' for k, v in value.items())}}}"
    else:
        text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _unknown_key(key: str, root: type[BaseModel]) -> ConfigError:
    close = suggest(key, root)
    if close:
        *others, last = close
        listed = f"{', '.join(others)} or {last}" if others else last
        return ConfigError(key, "unknown key", f"Did you mean {listed}? Correct the key")
    section = key.rpartition(".")[0]
    known = ", ".join(names_in(section, root))
    return ConfigError(key, "unknown key", f"Known in {section or 'the file'}: {known}")


def _from_validator(section: str, text: str) -> ConfigError:
    """A message of our own validators: ``field: problem; action``."""
    field, _, rest = text.partition(": ")
    problem, _, action = rest.rpartition("; ")
    where = f"{section}.{field}" if section else field
    return ConfigError(where, problem, action[:1].upper() + action[1:])
