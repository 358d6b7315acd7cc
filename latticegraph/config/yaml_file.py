"""Read one YAML file of settings, with the line of whatever is wrong in it."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml

from latticegraph.config.yaml_text import parse_yaml
from latticegraph.errors import ConfigError


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping.

    Args:
        path: the file, in UTF-8.

    Raises:
        ConfigError: when it is missing, unreadable, no UTF-8, no mapping, or refused by
            :func:`~latticegraph.config.yaml_text.parse_yaml`; the place is ``file:line`` where
            there is one.
    """
    if not path.is_file():
        raise _missing(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            str(path), f"expected a readable file, got: {error.strerror}", "Check its permissions"
        ) from error
    try:
        # PyYAML is handed text, for it takes bytes with a UTF-16 mark too.
        tree = parse_yaml(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}",
            f"expected UTF-8 text, got the byte 0x{content[error.start]:02x}",
            "Save the file as UTF-8",
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        raise ConfigError(
            place, f"expected valid YAML, got: {reason}", "Correct that line"
        ) from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        kind = "a list" if isinstance(tree, list) else f"'{tree}'"
        raise ConfigError(
            str(path),
            f"expected sections with keys, got {kind}",
            "Write for example 'run:' and below it '  seed: 1'",
        )
    return tree


def _missing(path: Path) -> ConfigError:
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir():
        return ConfigError(
            "--config", f"expected a file, got '{path}'", f"There is no folder '{folder}'"
        )
    names = sorted(p.name for p in folder.iterdir() if p.suffix in (".yaml", ".yml"))
    stems = difflib.get_close_matches(path.stem, [Path(n).stem for n in names], n=3, cutoff=0.6)
    near = [name for name in names if Path(name).stem in stems] or names[:5]
    found = ", ".join(str(folder / name) for name in near) or "no YAML file"
    return ConfigError(
        "--config", f"expected a file, got '{path}'", f"Choose another path; there is {found}"
    )
