"""Each notebook runs from its first cell to its last, and says what is true."""

from __future__ import annotations

import math
import re
from pathlib import Path

import nbformat
import pytest

from latticegraph import describe, load_config
from latticegraph.files import parse_json
from tests.notebooks.conftest import FOLDER, figures

NAMES = ("emergence", "inspect_graph", "scaling", "train_and_read")


def test_notebooks_are_these() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_stored_without_outputs(name: str) -> None:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    text = "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for link in re.findall(r"\]\(([\w.]+\.ipynb)\)", text):
        assert (FOLDER / link).is_file()


@pytest.mark.slow
def test_train_and_read_shows_the_run_and_finds_its_sentences(run_notebook, tmp_path: Path) -> None:
    found = run_notebook("train_and_read")
    report = parse_json((tmp_path / "runs" / "small" / "report.json").read_text("utf-8"))
    assert "finished after 6 updates" in found["train"].printed
    assert "- No verdict: 8 held-out samples" in found["verdicts"].printed
    (table,) = found["verdicts"].shown
    assert f"{report['student']['explained_variance']:.3f}" in table["text/markdown"]
    assert figures(found) == {"curves", "codes"}
    assert str(tmp_path / "runs" / "small" / "dashboard.html") in found["health"].printed
    lines = found["decode"].printed.splitlines()
    sent = [line.removeprefix("sent:").strip() for line in lines if line.startswith("sent:")]
    corpus = (tmp_path / "corpus.txt").read_text("utf-8").splitlines()
    assert len(sent) == 2
    assert set(sent) <= set(corpus)
    near = [line.split(maxsplit=1) for line in lines if line.startswith("  ")]
    assert len(near) == 4
    assert {text for _, text in near} <= set(corpus)
    assert near[0][1] == sent[0]


@pytest.mark.slow
def test_scaling_counts_times_and_trains(run_notebook, tmp_path: Path) -> None:
    sides = {"DESCRIBED": [3, 8, 37, 64], "TRAINED": [3, 4], "UPDATES": 4}
    output = f"run.output_dir={tmp_path / 'scaled'}"
    reach = "lattice.adaptive_radius_min=1.6"
    found = run_notebook("scaling", OVERRIDES=[output, reach], **sides)
    rows = [line.split() for line in found["count"].printed.splitlines()[1:]]
    assert [int(row[0]) for row in rows] == sides["DESCRIBED"]
    for side, row in zip(sides["DESCRIBED"], rows, strict=True):
        size = f"lattice.dimensions={[side] * 3}"
        told = describe(load_config(tmp_path / "small.yaml", [size, reach]))
        assert int(row[1].replace(",", "")) == side**3
        assert int(row[2].replace(",", "")) == sum(told["edges"].values())
        assert int(row[3]) == told["crossing_steps"]
    assert (rows[1][4], rows[2][4]) == ("spmm", "fft")
    assert found["time"].printed.count(" ms, ") == 2
    assert figures(found) == {"growth", "carry-figure"}
    numbers = re.findall(r"cube (\S+), PCA (\S+), difference (\S+)", found["carry"].printed)
    assert len(numbers) == 2
    for own, pca, difference in numbers:
        assert float(own) - float(pca) == pytest.approx(float(difference), abs=2e-3)
    # PCA to 16 numbers of embeddings of width 12 keeps all of them.
    assert numbers[1][1] == "1.000"


@pytest.mark.slow
def test_emergence_compares_with_the_untrained_cube_and_permuted_groups(run_notebook) -> None:
    rate = "training.phases=[{name: main, updates: 30, learning_rate: 0.02}]"
    found = run_notebook("emergence", OVERRIDES=[rate, "data.heldout=0.3"], PERMUTATIONS=40)
    assert "note:" not in found["models"].printed
    assert figures(found) == {"depth", "layers"}
    assert found["maps"].shown[0]["text/html"].count("<img") == 6
    gates = re.findall(r"(\w+) +(\S+) bits; .* p = (\S+)", found["roles"].printed)
    assert [which for which, _, _ in gates] == ["trained", "untrained"]
    assert gates[0][1] != gates[1][1]
    for _, bits, p in gates:
        assert 0 <= float(bits) <= math.log2(3)
        assert float(p) + 1e-3 >= 1 / 201
    assert len(found["lesions"].printed.splitlines()) == 3
    verdict = found["verdict"].printed
    depends = "The gates depend on the group"
    assert (depends in verdict) == (float(gates[0][2]) <= 0.05)
    assert re.search(r"In [0-3] of 3 layers they do at a level of 0\.0244", verdict)
