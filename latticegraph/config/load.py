"""Read a YAML file and dotted overrides into a checked Config."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from latticegraph.config.root import Config
from latticegraph.errors import ConfigError


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read ``path`` (defaults where None), apply ``overrides`` and check the result.

    Args:
        path: YAML file in UTF-8; its keys are those of :class:`Config`.
        overrides: ``dotted.key=value`` strings; a value is read as YAML, and a comma-separated value
            fills a list. They win over the file.

    Raises:
        ConfigError: naming the dotted key, the value, and what to do next.
    """
    tree: dict[str, Any] = {} if path is None else _read_yaml(Path(path))
    for override in overrides:
        _apply(tree, override)
    run = tree.setdefault("run", {})
    if path is not None and isinstance(run, dict) and run.get("name") is None:
        run["name"] = Path(path).stem
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise _translate(error) from None


def dump_config(config: Config) -> str:
    """The configuration as YAML text; reading it back gives an equal Config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        near = sorted(str(p) for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        found = f"there: {', '.join(near)}" if near else "that folder holds no YAML file"
        raise ConfigError(
            "--config", f"expected a file, got '{path}'", f"Choose another path ({found})"
        )
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(
            str(path), f"expected UTF-8 text, got byte {error.start}", "Save it as UTF-8"
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or "malformed"
        raise ConfigError(
            f"{path}{line}", f"expected valid YAML, got: {reason}", "Correct that line"
        ) from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(
            str(path), f"expected sections with keys, got {type(tree).__name__}", "See configs/"
        )
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(
            "--set", f"expected dotted.key=value, got '{override}'", "Write for example run.seed=1"
        )
    parts = key.split(".")
    field = _field_type(parts)
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            key, f"expected a YAML value, got '{text}'", "Quote special characters"
        ) from error
    if isinstance(value, str) and "tuple" in field:
        value = [yaml.safe_load(part) for part in value.split(",")] if _is_list(value, field) else value
    node = tree
    for index, part in enumerate(parts[:-1]):
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            where = ".".join(parts[: index + 1])
            raise ConfigError(where, f"expected a section, got {child!r}", "Correct the file")
        node = child
    node[parts[-1]] = value


def _is_list(value: str, field: str) -> bool:
    return "," in value or field.startswith("tuple") or not value.replace(".", "", 1).isdigit()


def _field_type(parts: Sequence[str]) -> str:
    """The annotation of a dotted key as text; empty when the key does not exist."""
    model: Any = Config
    annotation: Any = None
    for part in parts:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return ""
        field = model.model_fields.get(part)
        if field is None:
            return ""
        annotation = field.annotation
        model = annotation
    return str(annotation)


def all_keys(model: type[BaseModel] = Config, prefix: str = "") -> list[str]:
    """Every dotted key of the tree, sections included."""
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += all_keys(field.annotation, f"{prefix}{name}.")
    return keys


def _translate(error: ValidationError) -> ConfigError:
    """The first problem pydantic found, in our words."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"] if not str(part).startswith("tuple["))
    kind, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(key)
    if kind == "missing":
        return ConfigError(key, "expected a value, got nothing", f"Add {key} to the configuration")
    if kind == "value_error":
        return _from_validator(key, str(context["error"]))
    expected = str(problem["msg"]).removeprefix("Input should be ")
    return ConfigError(key, f"expected {expected}, got {value!r}", "Correct the value")


def _unknown_key(key: str) -> ConfigError:
    known = all_keys()
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if not close:
        by_leaf = {k.rpartition(".")[2]: k for k in reversed(known)}
        leaf = difflib.get_close_matches(key.rpartition(".")[2], by_leaf, n=1, cutoff=0.7)
        close = [by_leaf[name] for name in leaf]
    if close:
        return ConfigError(key, "unknown key", f"Did you mean {close[0]}?")
    section = key.rpartition(".")[0]
    siblings = [k for k in known if k.rpartition(".")[0] == section]
    return ConfigError(key, "unknown key", f"Known here: {', '.join(siblings) or 'nothing'}")


def _from_validator(section: str, text: str) -> ConfigError:
    """A message of our own validators: ``field: problem; action``."""
    field, _, rest = text.partition(": ")
    problem, _, action = rest.partition("; ")
    where = f"{section}.{field}" if section else field
    return ConfigError(where, problem, action[:1].upper() + action[1:])
