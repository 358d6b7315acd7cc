"""Notebooks cell by cell in this process, on a project of few short sentences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.pipeline.conftest import make_config

__all__ = ["make_config"]

FOLDER = Path(__file__).parents[2] / "notebooks"


@dataclass(frozen=True)
class Ran:
    """What a cell left: its standard output, and the kinds and data of what it displayed."""

    printed: str
    shown: list[dict[str, Any]]


@pytest.fixture
def run_notebook(
    make_config: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Ran]]:
    """Runs a notebook in its folder, with other values for its parameters, as a kernel would."""
    import plotly.io as pio
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from traitlets.config import Config as ShellConfig

    make_config()
    monkeypatch.chdir(FOLDER)
    monkeypatch.setattr(pio.renderers, "default", "plotly_mimetype")
    settings = ShellConfig()
    settings.HistoryManager.enabled = False

    def run(name: str, **parameters: Any) -> dict[str, Ran]:
        notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        given = {"CONFIG": str(tmp_path / "small.yaml"), "OVERRIDES": []} | parameters
        shell = InteractiveShell.instance(config=settings)
        found: dict[str, Ran] = {}
        try:
            for cell in (one for one in notebook.cells if one.cell_type == "code"):
                with capture_output() as captured:
                    result = shell.run_cell(cell.source)
                result.raise_error()
                if "parameters" in cell.metadata.get("tags", []):
                    assert given.keys() <= shell.user_ns.keys()
                    shell.user_ns.update(given)
                shown = [one.data for one in captured.outputs]
                if result.result is not None and not shown:  # a figure has shown itself
                    shown.append(shell.display_formatter.format(result.result)[0])
                found[cell["id"]] = Ran(captured.stdout, shown)
        finally:
            InteractiveShell.clear_instance()
        return found

    return run


def figures(found: dict[str, Ran]) -> set[str]:
    """Cells that drew a figure."""
    return {
        name
        for name, cell in found.items()
        if any("application/vnd.plotly.v1+json" in data for data in cell.shown)
    }
