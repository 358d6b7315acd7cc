"""README and docs say what is true: links, commands, settings, Python examples."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from latticegraph.config import LossSettings, load_config
from latticegraph.config.keys import all_keys, names_in
from latticegraph.hub import LatticeModel, LatticeModelConfig, TeacherIdentity
from latticegraph.lattice import LatticeGraph
from latticegraph.model import build_student
from latticegraph.teachers import build_teacher

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
DOCS += sorted((ROOT / "docs").glob("*.md"))
SECTIONS = (
    r"run|lattice|model|losses|teacher|data|training|evaluation|report(?!\.(?:md|json|html)\b)"
)


def blocks(path: Path, language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)


def anchors(path: Path) -> set[str]:
    """Anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_docs_relative_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text(encoding="utf-8"))
    for link in links:
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_docs_settings_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = re.findall(rf"(?:`|--set )((?:{SECTIONS})\.[a-z_.0-9]+)", text)
    for key in set(named) - set(all_keys()):
        # What is left is a setting of an element of a list, such as training.phases.0.updates.
        section, position, name = re.split(r"\.(\d+)\.", key)
        assert position.isdigit()
        assert name in names_in(f"{section}.{position}")


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_docs_name_no_place_of_one_machine(path: Path) -> None:
    found = re.findall(
        r"(?<![\w.:/])/(?:home|root|work|opt|tmp|Users|mnt)/\S*", path.read_text("utf-8")
    )
    assert found == []


def test_losses_page_lists_every_term_with_its_default() -> None:
    text = (ROOT / "docs" / "losses.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.split("## Weighting")[0].splitlines()]
    listed = {row[1].strip(" `"): row[5].strip() for row in rows if len(row) == 8}
    usual = LossSettings().weights() | {"gate_balance": 0.0, "gate_z": 0.0}
    assert {name: float(listed[name]) for name in usual} == usual
    assert listed.keys() - usual.keys() == {"term", "---", "losses.extra"}


@pytest.fixture
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the scripts and configurations of the project and no run."""
    for name in ("configs", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "count"),
    [("README.md", 4), ("docs/use_elsewhere.md", 3), ("docs/analysis.md", 2)],
    ids=["readme", "elsewhere", "analysis"],
)
def test_examples_print_what_they_say(
    user_folder: Path, capsys: pytest.CaptureFixture[str], page: str, count: int
) -> None:
    config = load_config("configs/8cube.yaml")
    graph = LatticeGraph.build(config.lattice)
    student = build_student(config.model, graph, config.teacher.dimension)
    identity = TeacherIdentity.of(build_teacher(config.teacher), config.teacher)
    model = LatticeModel(student, graph, LatticeModelConfig.of(config, identity))
    model.save_pretrained(user_folder / "runs" / "8cube" / "model")
    # Those that talk to a server are run in tests/serving/test_readme.py.
    examples = [text for text in blocks(ROOT / page, "python") if "openai" not in text]
    assert len(examples) == count
    for example in examples:
        exec(compile(example, page, "exec"), {})
        printed = capsys.readouterr().out.splitlines()
        promised = re.findall(r"^print\(.*\)\s+# (.*)$", example, re.M)
        # What training shows of itself comes before.
        assert promised
        assert printed[-len(promised) :] == promised


README_COMMANDS = [
    line
    for block in blocks(ROOT / "README.md", "console")
    for line in block.splitlines()
    if "scripts/" in line
]


@pytest.mark.parametrize("command", README_COMMANDS)
@pytest.mark.usefixtures("user_folder")
def test_readme_command_is_understood(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *options = shlex.split(command)
    if program == ".venv/bin/torchrun":
        assert options[:2] == ["--nproc-per-node", "2"]
        options = options[2:]
    else:
        assert program == ".venv/bin/python"
    script, *options = options
    if script == "scripts/train.py":
        options.append("--print-config")
    monkeypatch.setattr("sys.argv", [script, *options])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(script, run_name="__main__")
    said = capsys.readouterr()
    if script == "scripts/evaluate.py":
        # Understood as far as it goes without a trained run.
        assert said.err.startswith("error: --run: expected the folder of a finished run")
    else:
        assert exit_.value.code == 0, said.err
        known = ("8 x 8 x 8: 512 cells", "dimensions:\n  - 8", "dimensions:\n  - 37")
        assert any(text in said.out for text in known)


def test_readme_own_text_overrides_reach_the_config() -> None:
    (command,) = [line for line in README_COMMANDS if "my.txt" in line and "train.py" in line]
    overrides = re.findall(r"--set (\S+)", command)
    config = load_config(ROOT / "configs" / "8cube.yaml", overrides)
    assert config.run.name == "mine"
    assert config.data.train == ("my.txt",)
    assert config.data.heldout == 0.1


def test_readme_lists_every_config() -> None:
    named = set(
        re.findall(r"\]\(configs/(\S+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    )
    assert named == {path.name for path in (ROOT / "configs").glob("*.yaml")}


def test_readme_version_of_python_is_the_package_s() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (version,) = re.findall(r"Python (3\.\d+) or newer", (ROOT / "README.md").read_text("utf-8"))
    assert project["requires-python"] == f">={version}"


def test_docs_make_targets_exist() -> None:
    named = {
        name for path in DOCS for name in re.findall(r"`?make ([a-z-]+)", " ".join(_code(path)))
    }
    assert {"train", "test"} <= named
    for name in named:
        done = subprocess.run(
            ["make", "--dry-run", name], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def _code(path: Path) -> list[str]:
    """Console blocks and inline code."""
    return blocks(path, "console") + re.findall(r"`([^`\n]+)`", path.read_text(encoding="utf-8"))
