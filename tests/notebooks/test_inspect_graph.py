"""The notebook runs as a user runs it, in its own folder, and shows what is true of the cube."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "inspect_graph.ipynb"
FIGURES = {"radii", "degrees", "neighbours", "cone-3d", "slices", "experts"}


@pytest.fixture(scope="module")
def executed() -> dict[str, nbformat.NotebookNode]:
    """Cells by id, after the run."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    )
    client.execute()
    return {cell["id"]: cell for cell in notebook.cells}


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(out["text"] for out in cell.outputs if out.get("name") == "stdout")


@pytest.mark.slow
def test_inspect_graph_prints_the_known_counts(executed: dict[str, nbformat.NotebookNode]) -> None:
    rows = {
        line.split()[0]: line.split()
        for line in printed(executed["edges"]).splitlines()
        if line.split()[0] in {"local", "functional", "distant", "self"}
    }
    assert {name: row[2] for name, row in rows.items()} == {
        "local": "0",
        "functional": "2,688",
        "distant": "4,704",
        "self": "512",
    }
    assert "front to back takes 7 steps" in printed(executed["load"])


@pytest.mark.slow
def test_inspect_graph_light_cone_needs_every_layer(
    executed: dict[str, nbformat.NotebookNode],
) -> None:
    assert "first read cell after 7 steps" in printed(executed["cone"])
    alone = printed(executed["experts"])
    assert "local        first reaches the read cells never" in alone
    assert "functional   first reaches the read cells at step 7" in alone


@pytest.mark.slow
def test_inspect_graph_draws_every_figure(executed: dict[str, nbformat.NotebookNode]) -> None:
    drawn = {
        name
        for name, cell in executed.items()
        for out in cell.get("outputs", [])
        if "application/vnd.plotly.v1+json" in out.get("data", {})
    }
    assert drawn == FIGURES
