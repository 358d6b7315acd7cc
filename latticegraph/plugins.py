"""Classes that live outside the package, named in a configuration.

A class path is ``file.py:Class`` (a file, relative to the current folder) or
``package.module:Class`` (anything that can be imported).
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from latticegraph.errors import ConfigError

Base = TypeVar("Base")


def is_class_path(kind: str) -> bool:
    """Whether ``kind`` names a class outside the package, rather than a built-in kind."""
    return ":" in kind


def load_class(path: str, where: str, base: type[Base]) -> type[Base]:
    """Import the class that ``path`` names.

    This runs the code of the module. Never call it for a path that comes with a saved model unless
    :func:`check_trusted` has allowed it.

    Args:
        path: ``file.py:Class`` or ``package.module:Class``.
        where: dotted key of the setting, for errors.
        base: class that it must be derived from.

    Raises:
        ConfigError: when there is no such module or class, or it has another base.
    """
    module_name, _, class_name = path.rpartition(":")
    module = _load_module(module_name, path, where)
    found = getattr(module, class_name, None)
    if not inspect.isclass(found):
        names = [name for name, value in vars(module).items() if inspect.isclass(value)]
        raise ConfigError(
            where,
            f"expected a class in '{module_name}', got '{class_name}' of '{path}'",
            f"Name one of its classes: {', '.join(sorted(names)) or 'there are none'}",
        )
    if not issubclass(found, base):
        raise ConfigError(
            where,
            f"expected a subclass of {base.__module__}.{base.__qualname__}, got '{path}'",
            f"Derive {class_name} from {base.__name__}",
        )
    return found


def make(
    class_: type[Base],
    options: Mapping[str, Any],
    where: str,
    *arguments: Any,
    shared: Mapping[str, Any] | None = None,
) -> Base:
    """Call ``class_`` with arguments and options.

    Args:
        class_: to be instantiated.
        options: keyword arguments, as written in the configuration.
        where: dotted key of the options, for errors.
        arguments: positional arguments, which the program provides.
        shared: keyword arguments, which the program provides.

    Raises:
        ConfigError: when the class takes no such option, misses one, or refuses its value.
    """
    if inspect.isabstract(class_):
        missing = sorted(getattr(class_, "__abstractmethods__", ()))
        raise ConfigError(
            where,
            f"expected a class that can be instantiated, got {class_.__name__}, which leaves "
            f"abstract {', '.join(missing)}",
            "Define them",
        )
    provided = dict(shared or {})
    unknown = sorted((options.keys() - _accepted(class_)) | (options.keys() & provided.keys()))
    try:
        inspect.signature(class_).bind(*arguments, **{**provided, **options})
        if unknown:
            raise TypeError(f"it has no option {', '.join(unknown)}")
    except TypeError as error:
        raise ConfigError(
            where,
            f"expected options that {class_.__name__} takes, got {dict(options)} ({error})",
            f"It is defined as {class_.__name__}{inspect.signature(class_)}",
        ) from error
    try:
        return class_(*arguments, **provided, **options)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(where, f"{error}", "Change the option") from error


def _accepted(class_: type[Any]) -> set[str]:
    """Names of all keyword arguments; those of base classes too where ``**`` hands them on."""
    names: set[str] = set()
    for base in class_.__mro__:
        own = vars(base).get("__init__")
        if own is None:
            continue
        parameters = inspect.signature(own).parameters.values()
        names |= {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return names


def class_paths(settings: Any) -> list[str]:
    """All class paths that a tree of settings names, each once.

    They stand under the key ``kind`` of any section, and in lists under the key ``metrics``.

    Args:
        settings: mappings, lists and values, as read from JSON or YAML.
    """
    found: dict[str, None] = {}
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            names = [value] if key == "kind" else value if key == "metrics" else ()
            if isinstance(names, list | tuple):
                found |= {
                    name: None for name in names if isinstance(name, str) and is_class_path(name)
                }
            found |= dict.fromkeys(class_paths(value))
    elif isinstance(settings, list | tuple):
        for item in settings:
            found |= dict.fromkeys(class_paths(item))
    return list(found)


def check_trusted(paths: Sequence[str], trust: Sequence[str], where: str) -> None:
    """Refuse class paths of a saved model that the caller has not allowed by name.

    Args:
        paths: class paths that the model names.
        trust: those that the caller allows.
        where: the model's folder or file, for the error.

    Raises:
        ConfigError: naming the class paths that are not allowed.
    """
    refused = [path for path in paths if path not in trust]
    if refused:
        raise ConfigError(
            where,
            f"expected a model of built-in classes, got one that runs the code of {refused}",
            f"If you have read that code and trust it, pass trust={refused}",
        )


def _load_module(name: str, path: str, where: str) -> ModuleType:
    file = Path(name)
    if file.suffix != ".py":
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                where,
                f"expected a module that can be imported, got '{path}' ({error})",
                "Install it, add its folder to PYTHONPATH, or write file.py:Class",
            ) from error
    if not file.is_file():
        raise ConfigError(
            where,
            f"expected a Python file, got '{path}', and no file '{file.resolve()}' exists",
            "Paths are relative to the current folder; check the name",
        )
    # One module per file: a class that is loaded twice would be two classes.
    key = f"latticegraph_plugin:{file.resolve()}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, file)
    assert spec is not None, "a .py file has a spec"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[key]
        if isinstance(error, Exception):
            raise ConfigError(
                where,
                f"expected a file that runs, got {type(error).__name__} in '{path}': {error}",
                "Correct the file",
            ) from error
        raise
    return module
