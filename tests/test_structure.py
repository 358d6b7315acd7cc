"""The shape of the code: no import circles, short ways through it, short files."""

from __future__ import annotations

import ast
import runpy
import statistics
import traceback
from pathlib import Path

import grimp
import pytest
import torch

import latticegraph
from latticegraph.config import dump_config
from latticegraph.model import FunctionalExpert
from tests.pipeline.conftest import make_config

__all__ = ["make_config"]

PACKAGE = Path(latticegraph.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))


def circle(graph: grimp.ImportGraph) -> list[str]:
    """Modules that import each other, one circle of them; empty where there is none."""
    open_modules, done = [], set()

    def visit(module: str) -> list[str]:
        if module in open_modules:
            return [*open_modules[open_modules.index(module) :], module]
        if module in done:
            return []
        open_modules.append(module)
        for imported in sorted(graph.find_modules_directly_imported_by(module)):
            if found := visit(imported):
                return found
        open_modules.pop()
        done.add(module)
        return []

    for module in sorted(graph.modules):
        if found := visit(module):
            return found
    return []


def test_no_module_imports_in_a_circle():
    """Imports under TYPE_CHECKING count; those of the package's own lazy names do not."""
    graph = grimp.build_graph("latticegraph", cache_dir=None)
    assert len(graph.modules) > 100
    graph.remove_module("latticegraph")
    assert circle(graph) == []


def test_circle_is_found():
    graph = grimp.ImportGraph()
    for name in "abc":
        graph.add_module(name)
    for importer, imported in ("ab", "bc", "cb"):
        graph.add_import(importer=importer, imported=imported)
    assert circle(graph) == ["b", "c", "b"]


def test_way_from_the_command_to_the_update_of_an_expert_is_short(make_config, monkeypatch):
    """The first update of a run that ``scripts/train.py`` started."""
    stacks: list[list[str]] = []
    update = FunctionalExpert.update
    own = (str(PACKAGE), str(ROOT / "scripts"))

    def watched(self, m_CM, x_CM):
        frames = [f for f in traceback.extract_stack() if f.filename.startswith(own)]
        if torch.is_grad_enabled():
            stacks.append([frame.name for frame in frames])
        return update(self, m_CM, x_CM)

    watched.__name__ = "update"  # PyG looks it up by its name
    monkeypatch.setattr(FunctionalExpert, "update", watched)
    config = make_config("model.kernel=plain", "training.phases=[{name: one, updates: 1}]")
    path = Path(config.run.output_dir) / "one.yaml"
    path.parent.mkdir()
    path.write_text(dump_config(config), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["train.py", "--config", str(path)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "scripts" / "train.py"), run_name="__main__")
    assert ended.value.code == 0
    names = [*stacks[0], "update"]
    assert names[0] == "<module>"
    assert len(names) <= 14, names
    assert len(names[names.index("rollout") + 1 :]) <= 6, names


def functions(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)], tree


def test_files_and_functions_are_short():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert statistics.median(lengths.values()) <= 110
    assert {str(p): n for p, n in lengths.items() if n > 320} == {}
    long = [
        f"{path.name}:{node.name}"
        for path in FILES
        for node in functions(path)[0]
        if not isinstance(node, ast.ClassDef) and node.end_lineno - node.lineno >= 60
    ]
    assert long == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_public_name_is_documented(path):
    nodes, tree = functions(path)
    assert ast.get_docstring(tree)
    nested = {
        id(inner)
        for node in nodes
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_")
        for inner in ast.walk(node)
        if inner is not node
    }
    bare = [
        node.name
        for node in nodes
        if not node.name.startswith("_") and id(node) not in nested and not ast.get_docstring(node)
    ]
    assert bare == []
