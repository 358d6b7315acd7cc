"""The benchmark, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import processes

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "run.py"
QUICK = ("--quick", "--cubes", "4", "--threads", "1")
OWN = ["spmm", "fft", "scatter"]
PNG = b"\x89PNG\r\n\x1a\n"


def run(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own: it tunes the process before torch is imported."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), *options],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmark")


@pytest.fixture(scope="module")
def done(folder: Path) -> subprocess.CompletedProcess[str]:
    options = ["--json", str(folder / "new" / "times.json"), "--markdown", str(folder / "times.md")]
    options += ["--plot", str(folder / "times.png")]
    finished = run(*QUICK, *options)
    assert finished.returncode == 0, finished.stderr
    return finished


@pytest.fixture(scope="module")
def result(done: subprocess.CompletedProcess[str], folder: Path) -> dict[str, Any]:
    assert [p.name for p in (folder / "new").iterdir()] == ["times.json"]
    read: dict[str, Any] = json.loads((folder / "new" / "times.json").read_text(encoding="utf-8"))
    return read


def rows_of(result: dict[str, Any], what: str) -> dict[str, dict[str, Any]]:
    return {row["backend"]: row for row in result["rows"] if row["what"] == what}


def test_benchmark_measures_all_backends_on_the_same_cube(result: dict[str, Any]) -> None:
    assert list(rows_of(result, "aggregation")) == [*OWN, "pyg_edge", "rgcn", "conv3d", "floor"]
    assert list(rows_of(result, "step")) == [*OWN, "floor"]
    backend, floor = rows_of(result, "train_step")
    assert (backend in ("spmm", "fft"), floor) == (True, "floor")
    for row in result["rows"]:
        # 64 cells and their 18 neighbours at most; two samples
        assert (row["cube"], row["cells"], row["edges"], row["batch"]) == (4, 64, 784, 2)
        assert (row["oom"], row["reason"]) == (False, None)
        assert row["forward_ms"] > 0
        assert row["others"] is None or 0 <= row["others"] <= 1
        cells = 64 * 2 * row["steps"]
        assert row["ns_per_cell"] == pytest.approx(1e6 * row["forward_backward_ms"] / cells)
    assert {r["channels"] for r in rows_of(result, "aggregation").values()} == {32}
    assert {r["steps"] for r in rows_of(result, "train_step").values()} == {8}


def test_benchmark_names_the_machine(result: dict[str, Any]) -> None:
    machine = result["machine"]
    assert (machine["threads"], machine["device"], machine["quick"]) == (1, "cpu", True)
    assert machine["cpu"]
    assert machine["cores"] >= 1


def test_benchmark_peak_memory_counts_a_number_per_edge_where_there_is_one(
    result: dict[str, Any],
) -> None:
    rows = rows_of(result, "aggregation")
    message = 784 * 2 * 32 * 4 / 1e6  # edges, samples, channels, bytes
    for edge_level in ("scatter", "pyg_edge"):
        assert rows[edge_level]["peak_mb"] >= message
    assert rows["fft"]["peak_mb"] < message
    # Its two samples are padded to eight, in both factors of the sampled product.
    padded = 2 * 64 * 32 * 8 * 4 / 1e6
    assert rows["spmm"]["peak_mb"] < padded + message / 2
    assert rows["floor"]["peak_mb"] is None


@pytest.mark.parametrize("what", ["aggregation", "step", "train_step"])
def test_benchmark_floor_is_below_all_that_is_compared_with_it(
    result: dict[str, Any], what: str
) -> None:
    rows = rows_of(result, what)
    floor = rows.pop("floor")
    whole, dense = floor["forward_backward_ms"], floor["floor_dense_ms"]
    assert floor["over_floor"] is None
    assert (dense is None) == (what == "aggregation")
    for backend, row in rows.items():
        base = dense if dense and not backend.startswith("spmm") else whole
        assert row["over_floor"] == pytest.approx(row["forward_backward_ms"] / base)
        assert row["over_floor"] > 1


def test_benchmark_shows_and_writes_the_same_numbers(
    done: subprocess.CompletedProcess[str], result: dict[str, Any], folder: Path
) -> None:
    assert done.stderr == ""
    written = (folder / "times.md").read_text(encoding="utf-8")
    for row in result["rows"]:
        number = f"{row['forward_backward_ms']:,.4g}"
        assert number in done.stdout
        assert f"| {row['backend']} | {row['forward_ms']:,.4g} | {number} |" in written
    assert "### train_step, 4x4x4, 784 edges, 16 channels, 16 heads, batch 2, 8 steps" in written


def test_benchmark_draws_a_plot(done: subprocess.CompletedProcess[str], folder: Path) -> None:
    assert (folder / "times.png").read_bytes().startswith(PNG)


@pytest.mark.slow
def test_benchmark_without_room_is_a_row_and_other_rows_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "times.json"
    earlier = [
        {"cube": 4, "what": "aggregation", "backend": "old"},
        {"cube": 8, "what": "aggregation", "backend": "kept"},
    ]
    out.write_text(json.dumps({"machine": {}, "rows": earlier}), encoding="utf-8")
    # A sum over 4x4x4 cells holds 0.26 MB of states and, edge by edge, 1.2 MB on top.
    some = ("--what", "aggregation", "--max-gb", "0.001", "--add", "--json", str(out))
    finished = processes.run([str(SCRIPT), *QUICK, *some])
    assert finished.returncode == 0, finished.stderr
    kept, *rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert kept == earlier[1]
    assert [row["backend"] for row in rows if row["oom"]] == ["scatter", "pyg_edge", "rgcn"]
    for row in rows:
        times = (row["forward_ms"], row["forward_backward_ms"])
        assert all(time is None for time in times) == row["oom"]
    reason = "about 0.00147 GB, more than --max-gb 0.001"
    assert next(row["reason"] for row in rows if row["backend"] == "scatter") == reason
    assert f"scatter left out: {reason}" in finished.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--cubes 8,1", "expected sides >= 2 such as 8,15, got '8,1'"),
        ("--cubes big", "expected sides >= 2 such as 8,15, got 'big'"),
        ("--what sum", "expected some of aggregation,step,train_step, got 'sum'"),
        ("--batch 0", "expected a whole number of at least 1, got '0'"),
        ("--threads two", "expected a whole number of at least 1, got 'two'"),
        ("--max-gb -1", "expected a number above 0, got '-1'"),
        ("--device tpu", "invalid choice: 'tpu'"),
    ],
)
def test_benchmark_wrong_option_is_an_error(options: str, message: str) -> None:
    finished = processes.run([str(SCRIPT), *options.split()])
    assert finished.returncode == 2
    assert message in finished.stderr


def test_benchmark_error_is_one_line(tmp_path: Path) -> None:
    out = tmp_path / "times.json"
    out.write_text("[]", encoding="utf-8")
    finished = processes.run([str(SCRIPT), *QUICK, "--add", "--json", str(out)])
    assert finished.returncode == 2
    wanted = f"error: --add: expected the numbers of an earlier run in '{out}', got TypeError."
    assert finished.stderr.startswith(wanted)
    assert finished.stderr.count("\n") == 1
    assert out.read_text(encoding="utf-8") == "[]"
