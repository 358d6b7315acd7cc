"""What every page teaches, in two processes with the variables of torchrun."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.extension.conftest import merged, write_page
from tests.extension.test_write_an_expert import records
from tests.processes import run_together

ROOT = Path(__file__).parents[2]
PAGES = ["expert", "projection", "loss", "metric", "teacher"]


@pytest.mark.slow
@pytest.mark.parametrize("part", PAGES)
def test_part_of_a_page_trains_in_two_processes(tmp_path, monkeypatch, part):
    page = next(path.name for path in (ROOT / "docs").glob(f"write_a*_{part}.md"))
    monkeypatch.chdir(write_page(tmp_path, page))
    merged(tmp_path, page, ())
    words = [str(ROOT / "scripts" / "train.py"), "--config", "merged.yaml"]
    for done in run_together(2, words, tmp_path, os.environ | {"PYTHONPATH": str(ROOT)}):
        assert done.returncode == 0, done.stderr
    assert records(tmp_path / "runs" / "page")[-1]["update"] == 2
    assert (tmp_path / "runs" / "page" / "report.md").is_file()
