"""Which faults the mutation tester makes, and that it tells a found one from a survivor."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module that makes the faults."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("mutants")
    for name in ("mutants", "trial"):
        sys.modules.pop(name, None)


CASES = {
    "comparison": ("x = a <= b", ["a <= b  ->  a < b"]),
    "arithmetic": ("x = a + b * c", ["a + b * c  ->  a - b * c", "b * c  ->  b / c"]),
    "whole numbers": ("x = f(2)", ["f(2)  ->  f(3)"]),
    "truth": ("x = f(y=True)", ["y=True  ->  y=False"]),
    "sign": ("x = -a", ["-a  ->  a"]),
    "boolean": ("x = a and b", ["a and b  ->  a or b"]),
    "choice": ("x = a if c else b", ["a if c else b  ->  a if not c else b"]),
    "default": ("def f(a, b=1): pass", ["1  ->  2"]),
    "condition": ("if a:\n    pass", ["a  ->  not a"]),
    "negated condition": ("while not a:\n    pass", ["not a  ->  a"]),
    "filter": ("x = [a for a in y if a]", ["a  ->  not a"]),
    "return": ("def f(a):\n    return a", ["return a  ->  return None"]),
    "call": ("def f(a):\n    a()", ["a()  ->  pass"]),
    "new value": ("def f(a):\n    a = b", ["a = b  ->  pass"]),
    "attribute": ("def f(a):\n    a.x = b", ["a.x = b  ->  pass"]),
    "added": ("def f(a):\n    a += b", ["a += b  ->  pass", "a += b  ->  a -= b"]),
    # Nothing is left to run, or nothing that anybody sees.
    "first value": ("def f(a):\n    b = a", []),
    "nothing returned": ("def f(a):\n    return None", []),
    "docstring": ('def f(a):\n    """Text."""', []),
    "text": ("x = 'text'", []),
    "names": ("__all__ = ['a'] + ['b']", []),
    "annotation": ("x: Literal[1]", []),
    "decorator": ("@dataclass(frozen=True)\nclass A: pass", []),
    "error": ("raise ValueError(1 + 2)", []),
    "assertion": ("assert a == 1", []),
    "log": ("def f(a):\n    logger.info('%d', 1)", []),
    "types": ("if TYPE_CHECKING:\n    x = 1", []),
}


@pytest.mark.parametrize("name", CASES)
def test_faults_of_a_line(part: ModuleType, name: str) -> None:
    source, wanted = CASES[name]
    found = part.mutants(source)
    assert [mutant.change for mutant in found] == wanted
    for mutant in found:
        tree = part.mutated(source, mutant.index)
        assert ast.unparse(tree) != ast.unparse(ast.parse(source))
        compile(tree, "", "exec")
        assert mutant.line == source.count("\n", 0, source.find(wanted[0].split("  ->")[0])) + 1


def test_one_fault_at_a_time(part: ModuleType) -> None:
    source = "def f(x, y=1):\n    return x + y > 2\n"
    found = part.mutants(source)
    texts = {ast.unparse(part.mutated(source, mutant.index)) for mutant in found}
    assert texts == {
        "def f(x, y=2):\n    return x + y > 2",
        "def f(x, y=1):\n    return None",
        "def f(x, y=1):\n    return x + y >= 2",
        "def f(x, y=1):\n    return x - y > 2",
        "def f(x, y=1):\n    return x + y > 3",
    }


@pytest.mark.usefixtures("part")
def test_tests_that_name_the_method_with_the_fault_are_run(tmp_path: Path) -> None:
    trial = importlib.import_module("trial")
    module = tmp_path / "latticegraph" / "losses" / "own.py"
    texts = {
        module: (
            "class Own:\n    def way(self):\n        return 1\n\n"
            "    def to(self):\n        self.x = 1\n"
        ),
        tmp_path / "tests" / "losses" / "test_more.py": "",
        tmp_path / "tests" / "model" / "test_class.py": "Own()",
        tmp_path / "tests" / "model" / "test_method.py": "x.way()",
        tmp_path / "tests" / "model" / "test_move.py": "x.to()",
        tmp_path / "tests" / "fuzz" / "test_way.py": "x.way()",
    }
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def names(line: int) -> list[str]:
        return [Path(path).stem for path in trial.tests_of(tmp_path, "losses", module, line)]

    assert names(0) == names(1) == names(6) == ["test_class", "test_more"]
    assert names(3) == ["test_class", "test_method", "test_more"]


@pytest.mark.slow
def test_survivor_is_told_from_a_fault_that_a_test_finds(tmp_path: Path) -> None:
    """A project of one module, half of it tested; the second call has nothing left to do."""
    benchmarks, package, tests = (
        tmp_path / name for name in ("benchmarks", "latticegraph/losses", "tests/losses")
    )
    for folder in (benchmarks, package, tests):
        folder.mkdir(parents=True)
    for name in ("mutate", "mutants", "trial"):
        (benchmarks / f"{name}.py").write_bytes((FOLDER / f"{name}.py").read_bytes())
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "own.py").write_text(
        "def found(a):\n    while a < 3:\n        a = abs(4)\n    return a\n\n\n"
        "def missed(a):\n    return a * 2\n",
        encoding="utf-8",
    )
    (tests / "test_own.py").write_text(
        "from latticegraph.losses.own import found\n\n\n"
        "def test_it():\n    for a, wanted in ((0, 4), (3, 3), (7, 7)):\n"
        "        assert found(a) == wanted\n",
        encoding="utf-8",
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n", encoding="utf-8")
    script, out = benchmarks / "mutate.py", tmp_path / "out.json"
    program = (
        "import runpy, sys, trial; trial.PRELOADED = ('pytest',); "
        "sys.argv = sys.argv[1:]; import mutate; mutate.LEAST = 6.0; sys.exit(mutate.main())"
    )
    command = [sys.executable, "-c", program, str(script), "--rooms", "losses", "--json", str(out)]
    environment = os.environ | {"PYTHONPATH": str(benchmarks)}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"

    def run() -> str:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=True
        )
        return done.stdout

    assert "losses            9       6         3" in run()
    rows = {row["change"]: row for row in json.loads(out.read_text(encoding="utf-8"))}
    outcomes = {change: row["outcome"] for change, row in rows.items() if change}
    assert outcomes == {
        "a < 3  ->  not a < 3": "killed",
        "a < 3  ->  a <= 3": "killed",
        "a < 3  ->  a < 4": "killed",
        "a = abs(4)  ->  pass": "timeout",
        "abs(4)  ->  abs(5)": "killed",
        "return a  ->  return None": "killed",
        "return a * 2  ->  return None": "survived",
        "a * 2  ->  a / 2": "survived",
        "a * 2  ->  a * 3": "survived",
    }
    assert rows["a < 3  ->  a < 4"]["by"] == "tests/losses/test_own.py::test_it"
    assert rows["a * 2  ->  a * 3"]["line"] == 8
    before = out.read_bytes()
    run()
    assert out.read_bytes() == before

    (tests / "test_own.py").write_text("def test_it():\n    assert False\n", encoding="utf-8")
    out.unlink()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the tests of losses fail without a fault" in done.stderr
