"""Every command and example of the section of README.md on using a trained cube."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib

import httpx
import pytest

from latticegraph.config import load_config
from latticegraph.hub import LatticeModel, LatticeModelConfig, TeacherIdentity
from latticegraph.lattice import LatticeGraph
from latticegraph.model import build_student
from latticegraph.teachers import build_teacher
from tests.serving.test_server import served
from tests.test_docs import ROOT, blocks

SECTION = "## Use a trained cube\n"
ADDRESS = "http://127.0.0.1:8000"


def section(tmp_path):
    """The section as a file of its own."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    path = tmp_path / "section.md"
    path.write_text(text.split(SECTION)[1].split("\n## ")[0], encoding="utf-8")
    return path


@pytest.fixture
def user_folder(tmp_path, monkeypatch):
    """The current folder, with my.txt and an untrained model in runs/8cube/model."""
    (tmp_path / "my.txt").write_text("A first line.\nA second line.\n", encoding="utf-8")
    config = load_config(ROOT / "configs" / "8cube.yaml")
    graph = LatticeGraph.build(config.lattice)
    student = build_student(config.model, graph, config.teacher.dimension)
    identity = TeacherIdentity.of(build_teacher(config.teacher), config.teacher)
    model = LatticeModel(student, graph, LatticeModelConfig.of(config, identity))
    model.save_pretrained(tmp_path / "runs" / "8cube" / "model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_every_command_and_example_of_the_section_works(user_folder, capsys):
    path = section(user_folder)
    commands = [line for block in blocks(path, "console") for line in block.splitlines()]
    serve = [words for words in map(shlex.split, commands) if words[1] == "serve"]
    asked = [words for words in map(shlex.split, commands) if words[0] == "curl"]
    others = [w for w in map(shlex.split, commands) if w not in serve and w not in asked]
    assert (len(others), len(serve), len(asked)) == (5, 1, 3)
    for program, *options in others:
        assert program == ".venv/bin/latticegraph"
        command = [sys.executable, "-m", "latticegraph", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    program, _, *options = serve[0]
    assert program == ".venv/bin/latticegraph"
    with served(*options) as (_, url):
        answers = []
        for words in asked:
            command = [word.replace(ADDRESS, url) for word in words]
            assert command != words
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            answers.append(json.loads(done.stdout))
        embeddings, encoded, ready = answers
        assert [len(item["embedding"]) for item in embeddings["data"]] == [384, 384]
        assert [len(row) for row in encoded["rows"]] == [64]
        assert ready == {"status": "ready"}
        (example,) = blocks(path, "python")
        exec(compile(example.replace(ADDRESS, url), "README.md", "exec"), {})
        promised = re.findall(r"^print\(.*\)\s+# (.*)$", example, re.M)
        assert capsys.readouterr().out.splitlines() == promised
        assert httpx.get(f"{url}/").text.startswith("<!DOCTYPE html>")


def test_the_extra_that_the_section_names_exists(tmp_path):
    text = section(tmp_path).read_text(encoding="utf-8")
    (extra,) = re.findall(r"pip install --editable '\.\[(\w+)\]'", text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert extra in project["optional-dependencies"]
