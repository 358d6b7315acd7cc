"""The benchmark of the aggregation backends, run as a user runs it."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "aggregation.py"
TINY = [
    "--sizes",
    "3x4x5",
    "--radius-min",
    "1.6",
    "--batch",
    "2",
    "--channels",
    "4",
    "--heads",
    "2",
]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), *options],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8", "COLUMNS": "100"},
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def main() -> Callable[[list[str]], int]:
    """The script's main in this process: torch is imported once."""
    return runpy.run_path(str(SCRIPT))["main"]


def test_benchmark_measures_both_backends_on_the_same_graph(tmp_path: Path) -> None:
    out = tmp_path / "new" / "times.json"
    done = run(*TINY, "--repeats", "3", "--json", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    result = json.loads(out.read_text(encoding="utf-8"))
    assert [p.name for p in out.parent.iterdir()] == ["times.json"]
    assert (result["batch"], result["channels"], result["heads"], result["repeats"]) == (2, 4, 2, 3)
    rows = result["rows"]
    assert [(r["part"], r["backend"]) for r in rows] == [
        ("sum", "spmm"),
        ("sum", "scatter"),
        ("step", "spmm"),
        ("step", "scatter"),
    ]
    assert {(r["size"], r["cells"], r["edges"]) for r in rows} == {("3x4x5", 60, 718)}
    for spmm, scatter in (rows[:2], rows[2:]):
        assert spmm["median_ms"] > 0
        assert spmm["ratio_to_spmm"] == 1
        assert scatter["ratio_to_spmm"] == scatter["median_ms"] / spmm["median_ms"]
        assert scatter["peak_extra_mib"] > spmm["peak_extra_mib"]
    # scatter cannot do with less than one gathered number per edge of the largest type.
    assert rows[1]["peak_extra_mib"] * 2**20 > 718 / 3 * 2 * 4 * 4
    assert "scatter" in done.stdout
    assert "3x4x5" in done.stdout


def test_benchmark_leaves_scatter_out_above_the_memory_limit(
    main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, "--repeats", "1", "--max-gb", "1e-6"]) == 0
    out = capsys.readouterr().out
    # 3 tensors x 718 edges x 2 samples x 4 channels x 4 bytes
    wanted = "3x4x5: scatter skipped, its 718 edges would need about 6.89e-05 GB, more than --max"
    assert wanted in out
    assert out.count("scatter") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--heads 3 --channels 4", "error: --heads: expected a divisor of --channels (4), got 3."),
        ("--sizes 3", "expected at least one functional edge, got none"),
    ],
)
def test_benchmark_error_is_one_line_and_status_2(
    main: Callable[[list[str]], int],
    capsys: pytest.CaptureFixture[str],
    options: str,
    message: str,
) -> None:
    assert main(options.split()) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--sizes 3x4", "expected 8 or 3x4x5 (sides >= 2), got '3x4'"),
        ("--sizes 1", "expected 8 or 3x4x5 (sides >= 2), got '1'"),
        ("--repeats 0", "expected at least 1, got 0"),
    ],
)
def test_benchmark_option_out_of_range_is_an_error(
    main: Callable[[list[str]], int],
    capsys: pytest.CaptureFixture[str],
    options: str,
    message: str,
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(options.split())
    assert message in capsys.readouterr().err


def test_benchmark_json_that_cannot_be_written_is_an_error_after_the_table(
    main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*TINY, "--repeats", "1", "--json", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert f"error: --json: expected to write '{tmp_path}', got: Is a directory." in shown.err
    assert "spmm" in shown.out
