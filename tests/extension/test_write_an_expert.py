"""What docs/write_an_expert.md teaches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latticegraph import load_config
from latticegraph.errors import ConfigError
from latticegraph.model import build_student
from tests import processes
from tests.extension.conftest import VARIANTS, write_page

ROOT = Path(__file__).parents[2]
PAGE = "write_an_expert.md"


def records(folder: Path) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("variant", VARIANTS)
def test_expert_of_the_page_trains(train_page, variant):
    config, outcome = train_page(PAGE, *VARIANTS[variant])
    assert outcome["updates"] == 2
    rows = records(Path(outcome["run_dir"]))
    trained = [row for row in rows if row["kind"] == "train"]
    validated = [row for row in rows if row["kind"] == "validation"]
    assert trained[-1]["grad_norm"]["experts.waves"] > 0
    assert list(validated[-1]["usage"]) == ["local", "functional", "waves"]
    assert [expert.name for expert in config.model.experts] == ["local", "functional", "waves"]


def test_tests_of_the_page_pass(tmp_path):
    write_page(tmp_path, PAGE)
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_expert.py"]
    done = processes.run(words, tmp_path)
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


@pytest.mark.parametrize(
    ("kind", "options", "wanted"),
    [
        ("gone.py:Oscillator", {}, r"model\.experts\.0\.kind: expected a Python file, got 'gone"),
        ("my_expert.py:Gone", {}, r"model\.experts\.0\.kind: .* got 'Gone' .*: .*Oscillator"),
        ("my_expert.py:Tensor", {}, r"expected a subclass of latticegraph\.dynamics\.expert\.Exp"),
        ("no.such.module:Expert", {}, r"expected a module that can be imported, got 'no\.such"),
        ("my_expert.py:Oscillator", {"rat": 1}, r"model\.experts\.0\.options: .*no option rat.*"),
        ("my_expert.py:Oscillator", {"heads": 1}, r"no option heads"),
        ("my_expert.py:Oscillator", {"rate": 7}, r"options: rate: expected a number above 0 and"),
        (
            "functionl",
            {},
            r"experts\.0.*expected local, functional, distant, cell, or a class path.*",
        ),
    ],
)
def test_mistakes_are_named(tmp_path, monkeypatch, kind, options, wanted):
    from latticegraph.lattice import LatticeGraph

    monkeypatch.chdir(write_page(tmp_path, PAGE))
    expert = {"name": "mine", "kind": kind, "edges": ["functional"], "options": options}
    text = json.dumps({"model": {"experts": [expert]}})
    (tmp_path / "wrong.yaml").write_text(text, encoding="utf-8")

    def build():
        config = load_config("wrong.yaml", [])
        return build_student(config.model, LatticeGraph.build(config.lattice), 24)

    with pytest.raises(ConfigError, match=wanted):
        build()


def test_file_that_fails_is_named(tmp_path, monkeypatch):
    from latticegraph.dynamics import Expert
    from latticegraph.plugins import load_class

    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("import torch\n1 / 0\n", encoding="utf-8")
    wanted = r"key: expected a file that runs, got ZeroDivisionError in 'broken\.py:Mine'"
    with pytest.raises(ConfigError, match=wanted):
        load_class("broken.py:Mine", "key", Expert)
