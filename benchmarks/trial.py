"""One fault of ``mutate.py`` in a process of its own: which tests are run, and how they end."""

from __future__ import annotations

import ast
import importlib
import os
import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NoReturn

from mutants import mutated

# What tests and the package import; whatever is not installed is left out.
PRELOADED = (
    "torch",
    "torch._dynamo",
    "torch.distributed",
    "torch.utils.tensorboard",
    "torch_geometric.nn",
    "torch_geometric.data",
    "torch_scatter",
    "torch_cluster",
    "torchjd",
    "pytorch_metric_learning.losses",
    "transformers",
    "sklearn.decomposition",
    "sklearn.linear_model",
    "scipy.stats",
    "matplotlib.figure",
    "pydantic",
    "yaml",
    "lmdb",
    "filelock",
    "rich.console",
    "rich.table",
    "safetensors.torch",
    "hypothesis.strategies",
    "_hypothesis_pytestplugin",
    "anyio.pytest_plugin",
    "pytest",
    "_pytest.doctest",
)
# Folders whose tests start processes, in which there is no fault, or are about other things.
NO_TESTS_OF_CODE = ("benchmarks", "cli", "distributed", "fuzz", "notebooks")
# Methods of so many classes that their name tells nothing.
EVERYWHERE = ("forward", "backward", "to", "update", "sum", "read", "write", "close", "state_dict")
FAILED = "failed.txt"


def preload() -> None:
    """Import what all forks need, but nothing of the package."""
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    assert "latticegraph" not in sys.modules, "a module that is imported cannot be changed"


def tests_of(root: Path, room: str, module: Path, line: int) -> list[str]:
    """Files of tests, the likeliest to find a fault first, and last the module's own examples.

    Those are the tests of the room, and others that name something that the module defines, or the
    method with the fault.

    Args:
        root: of the repository.
        room: folder of the package.
        module: the file with the fault.
        line: of the fault; 0: none.
    """
    tests = root / "tests"
    text = module.read_text(encoding="utf-8")
    dotted = ".".join(module.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    names = re.findall(r"^(?:class|def) ([A-Za-z]\w+)", text, re.M)
    names += [name for name in _around(ast.parse(text), line) if name not in EVERYWHERE]
    defined = re.compile(rf"\b({'|'.join([re.escape(dotted), *names])})\b")
    found = []
    for path in sorted(tests.rglob("test_*.py")):
        folder = path.relative_to(tests).parts[0]
        mentions = len(defined.findall(path.read_text(encoding="utf-8")))
        if folder in NO_TESTS_OF_CODE or not (mentions or folder == room):
            continue
        alike = path.stem == f"test_{module.stem}" and (folder == room or mentions > 0)
        found.append((not alike, mentions == 0, folder != room, -mentions, str(path)))
    files = [path for *_, path in sorted(found)]
    return [*files, str(module)] if ">>> " in text else files


def _around(tree: ast.Module, line: int) -> list[str]:
    """Public functions and methods that the line belongs to."""
    found = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    inside = (node for node in found if node.lineno <= line <= (node.end_lineno or 0))
    return [node.name for node in inside if not node.name.startswith("_")]


class _Loader(SourceFileLoader):
    """Gives a module changed code."""

    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        super().__init__(name, path)
        self._tree = tree

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = compile(self._tree, self.path, "exec")
        return code


class _Finder(MetaPathFinder):
    """Finds one module of the package, changed."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self._name, self._path, self._tree = name, path, tree

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _Loader(fullname, str(self._path), self._tree)
        return spec_from_file_location(fullname, self._path, loader=loader)


class _FirstFailure:
    """A plugin of pytest that writes down which test failed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self._path.write_text(report.nodeid, encoding="utf-8")

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._path.write_text(f"import of {report.nodeid}", encoding="utf-8")


def run(root: Path, path: str, index: int, tests: Sequence[str], folder: Path) -> NoReturn:
    """Run tests with a fault and end this process with the status of pytest.

    Args:
        root: of the repository.
        path: of the module with the fault, below the root.
        index: of the fault; -1: none.
        tests: files.
        folder: for what the tests write.
    """
    status = 1
    try:
        os.setsid()
        silence = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
        sys.path.insert(0, str(root))
        module = root / path
        if index >= 0:
            tree = mutated(module.read_text(encoding="utf-8"), index)
            parts = Path(path).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            sys.meta_path.insert(0, _Finder(name, module, tree))
        import pytest

        words = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist"]
        words += ["-p", "no:cov", "--basetemp", str(folder / "temporary"), *tests]
        status = int(pytest.main(words, plugins=[_FirstFailure(folder / FAILED)]))
    finally:
        os._exit(status)


def failed_test(folder: Path) -> str:
    """The test that :func:`run` saw fail; empty where none did."""
    path = folder / FAILED
    return path.read_text(encoding="utf-8") if path.exists() else ""
