"""Parts of the benchmark that can be checked by hand."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from latticegraph.errors import LatticeGraphError

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The files import each other as a script's neighbours do."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    names = {path.stem for path in FOLDER.glob("*.py")}
    for name in (set(sys.modules) - before) & names:
        del sys.modules[name]


def part(name: str) -> ModuleType:
    return importlib.import_module(name)


def test_unequal_results_are_an_error() -> None:
    check = part("measure").check_same
    right = [torch.tensor([1.0, -4.0]), torch.tensor([2.0])]
    check(right, [right[0] + 3e-4, right[1]], "sum 4 fft")  # 3e-4 of 4
    with pytest.raises(LatticeGraphError, match=r"a difference of 0\.05 in tensor 1"):
        check([right[0], torch.tensor([2.1])], right, "sum 4 fft")
    with pytest.raises(LatticeGraphError, match="sum 4 fft"):
        check([torch.full((2,), float("nan")), right[1]], right, "sum 4 fft")


def test_estimate_counts_edges_only_where_they_are_built() -> None:
    memory = part("memory")
    small = memory.Size(cells=8, edges=100, batch=2, channels=4, heads=2)
    large = memory.Size(cells=8, edges=200, batch=2, channels=4, heads=2)

    def per_edge(backend: str) -> float:
        return (memory.estimate_bytes(backend, large) - memory.estimate_bytes(backend, small)) / 100

    assert per_edge("fft") == per_edge("conv3d") == per_edge("floor") == 0
    assert per_edge("scatter") == per_edge("pyg_edge") == per_edge("rgcn") == 6 * 2 * 4 * 4
    assert 0 < per_edge("spmm") == per_edge("spmm+compile") < per_edge("scatter")


def test_edges_beyond_the_limit_are_never_built() -> None:
    memory = part("memory")
    size = memory.Size(cells=50_653, edges=20_000_001, batch=1, channels=1, heads=1)
    assert memory.too_large("spmm", size, 1e6) == "20,000,001 edges, more than 20,000,000"
    assert memory.too_large("fft", size, 1e6) is None
    # A block-diagonal graph holds every edge once per sample.
    half = memory.Size(cells=50_653, edges=10_000_001, batch=2, channels=1, heads=1)
    assert memory.too_large("rgcn", half, 1e6) == "20,000,002 edges, more than 20,000,000"
    assert memory.too_large("spmm", half, 1e6) is None


def test_out_of_memory_while_building_is_a_row_and_other_errors_are_not_hidden() -> None:
    measure, groups, memory = part("measure"), part("groups"), part("memory")
    size = memory.Size(cells=8, edges=1, batch=1, channels=1, heads=1)

    def failing(error: Exception) -> groups.Group:
        def make() -> None:
            raise error

        return groups.Group("step", 2, size, {"fft": make})

    full = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
    built, reasons = measure._built(failing(full), 1.0)
    assert (built, reasons) == ([], {"fft": "the allocator ran out of memory"})
    with pytest.raises(RuntimeError, match="shapes"):
        measure._built(failing(RuntimeError("shapes do not fit")), 1.0)


def test_peak_is_what_a_call_holds_at_once() -> None:
    def call() -> None:
        for _ in range(3):
            a = torch.zeros(1000)
            torch.zeros(500)
            del a

    assert part("memory").peak_bytes(call, torch.device("cpu")) == pytest.approx(6000, abs=200)


def test_interleaved_takes_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    timing, calls = part("timing"), []
    # A clock of its own: every run takes 4 ms, however busy the machine is.
    monkeypatch.setattr(timing, "_milliseconds", lambda case, device: case() or 4.0)
    effort = timing.Effort(rounds=3, seconds=1e-2)
    cases = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = timing.interleaved(cases, effort, torch.device("cpu"))
    assert "".join(calls) == "ab" + "ab" + "ab" * 3
    assert {name: len(own) for name, own in times.items()} == {"a": 3, "b": 3}


def test_interleaved_does_not_repeat_what_takes_long() -> None:
    timing, calls = part("timing"), []
    cases = {"slow": lambda: (calls.append("slow"), time.sleep(6e-3)), "fast": lambda: None}
    effort = timing.Effort(rounds=4, seconds=1e-3)
    times = timing.interleaved(cases, effort, torch.device("cpu"))
    assert (calls, len(times["slow"])) == (["slow"], 1)
    assert times["slow"][0] >= 6
    assert len(times["fast"]) >= 4


def test_floor_multiplies_what_a_step_multiplies() -> None:
    cases, floor = part("cases"), part("floor")
    config = cases.read_config(4)
    graph = cases.LatticeGraph.build(config.lattice)
    lattice = cases.make_lattice(config, graph, 2, torch.device("cpu"))
    seen: list[tuple[int, int]] = []

    class Watch(torch.overrides.TorchFunctionMode):
        """Notes the weight of every product with all columns."""

        def __torch_function__(self, func, types, args=(), kwargs=None):
            name = func.__name__.removesuffix("_")
            matrices = {"addmm": args[1:3], "matmul": args[:2], "mm": args[:2]}.get(name)
            if matrices and matrices[1].shape[1] == 128:
                seen.append(tuple(matrices[0].shape))
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Watch():
        lattice.take_steps(torch.randn(16, 128), lattice.weights(), None, 1)
    assert sorted(seen) == sorted(floor.map_shapes(lattice))


def unfit_row() -> dict[str, object]:
    row = {"cube": 8, "what": "step", "backend": "scatter", "edges": 7904, "channels": 16}
    row |= {"heads": 4, "batch": 2, "steps": 1, "oom": True, "reason": "too many edges"}
    return row | {"others": 0.25}


def test_markdown_shows_what_did_not_fit() -> None:
    lines = part("report").markdown([unfit_row()]).splitlines()
    assert lines[0] == "### step, 8x8x8, 7,904 edges, 16 channels, 4 heads, batch 2"
    assert lines[-1] == "| scatter | does not fit | - | - | - | - |"


def test_report_marks_a_busy_machine_and_shows_the_table_before_a_file_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = SimpleNamespace(
        json=tmp_path, markdown=None, add=False, device="cpu", quick=True, allocator="system"
    )
    with pytest.raises(LatticeGraphError, match=r"--json: expected to write .*Is a directory"):
        part("report").Report(options).add([unfit_row()])
    shown = capsys.readouterr().out
    assert "scatter left out: too many edges" in shown
    assert "other processes used 25% of the cores: trust ratios only" in shown


def test_cuda_without_a_device_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LatticeGraphError, match="--device: expected a CUDA device, got none"):
        part("measure").measure_all(SimpleNamespace(device="cuda"))


def test_monitoring_is_timed_beside_the_same_work_without_it() -> None:
    overrides = ["training.log_every=2", "teacher.dimension=24"]
    tiny = str(FOLDER.parent / "configs" / "tiny.yaml")
    result = part("monitoring").measure(tiny, overrides, 260, 200, stretches=6, rounds=2)
    assert set(result["shares"]) == {"log lines", "validations", "shares", "page"}
    assert result["share"] == sum(result["shares"].values())
    for name in ("log lines", "validations", "shares"):
        seconds = result["seconds"][name]
        assert seconds["on"]["cpu"] > seconds["off"]["cpu"] > 0, name
    assert 0 < result["shares"]["page"] <= 0.0101


def test_recording_on_disk_keeps_the_trajectory_out_of_memory() -> None:
    recording = part("recording")
    tiny = str(FOLDER.parent / "configs" / "tiny.yaml")
    rows = [recording.measure(tiny, [], 20, 8, case) for case in recording.CASES]
    assert [row["trajectory_mb"] for row in rows] == [5 * 8 * 60 * 20 * 4 / 2**20] * 3
    assert all(row["peak_mb"] > 50 for row in rows)
