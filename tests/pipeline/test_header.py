"""What a run says before it starts, and the run that does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from latticegraph.aggregation.cost import expected_ms
from latticegraph.config import Config
from latticegraph.errors import ConfigError
from latticegraph.lattice import LatticeGraph
from latticegraph.losses.objective import WHOLE_LATTICE
from latticegraph.losses.term import LossTerm
from latticegraph.model import Student
from latticegraph.pipeline import dry_run, header
from latticegraph.pipeline.describe_run import describe
from latticegraph.pipeline.header import (
    available_gb,
    check_memory,
    expected_memory,
    header_lines,
)
from latticegraph.pipeline.prepare import build_model

CPU = torch.device("cpu")
Make = Callable[..., Config]


def built(config: Config) -> tuple[Config, Student, LatticeGraph]:
    graph, student = build_model(config, CPU)
    return config, student, graph


def test_header_tells_size_sums_and_memory(
    make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header, "available_gb", lambda device: 12.34)
    config, student, graph = built(make_config())
    cube, sums, step, time, memory = header_lines(config, student, graph, CPU)
    parameters = sum(parameter.numel() for parameter in student.parameters())
    assert cube == (
        f"cube: 3 x 3 x 3, 27 cells, 279 edges, 3 steps, {parameters:,} parameters, on cpu, "
        "1 thread(s)"
    )
    stencils = student.dynamics.aggregation.stencils
    times = [expected_ms(way, stencils, 4, 16) for way in ("spmm", "fft")]
    assert sums == (
        f"sums over neighbours: spmm (auto; expected ms per step: spmm {times[0]:.3g}, "
        f"fft {times[1]:.3g})"
    )
    assert times[0] < times[1]
    assert step == "step: fused kernels (model.kernel auto)"
    ms = 3 * (times[0] + 37 * 27 * 4 * 16 / 1e6)  # steps, and numbers of the state
    updates = sum(phase.updates for phase in config.training.phases)
    assert time == (
        f"time: about {ms / 1000:.2g} s per update, {updates * ms / 6e4:.2g} min for {updates} "
        "updates (cost model of two CPU cores)"
    )
    plan, peak = expected_memory(config, student, graph)
    assert plan == student.dynamics.plan(16, 3, 4)
    assert memory == (f"memory: rollout {plan}; whole run about {peak:.1f} GB of 12.3 GB free")


@pytest.mark.parametrize("way", ["spmm", "fft", "scatter"])
def test_header_names_an_explicit_way_of_summing(make_config: Make, way: str) -> None:
    config, student, graph = built(make_config(f"model.aggregation={way}"))
    sums = header_lines(config, student, graph, CPU)[1]
    assert sums == f"sums over neighbours: {way} (model.aggregation)"


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (["model.kernel=plain"], "plain (model.kernel)"),
        (["model.kernel=fused"], "fused kernels (model.kernel fused)"),
        (["model.aggregation=scatter"], "plain (scatter has no kernel)"),
        (["training.precision=bfloat16"], "plain (training.precision bfloat16)"),
        (
            ["model.messages.weights=table", "model.messages.edge_hidden=16"],
            "fused kernels (model.kernel auto)",
        ),
        (["model.messages.norm=true"], "plain (expert 'local' has no kernel for its code)"),
        (["model.compile=true"], "plain, compiled (model.compile)"),
        (["model.dynamics.mode=wire"], "none (model.dynamics.mode wire)"),
    ],
)
def test_header_names_the_step(make_config: Make, changes: list[str], wanted: str) -> None:
    lines = header_lines(*built(make_config(*changes)), CPU)
    assert lines[2] == f"step: {wanted}"


def test_header_is_silent_on_free_memory_that_nobody_tells(
    make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header, "available_gb", lambda device: None)
    assert " free" not in header_lines(*built(make_config()), CPU)[-1]


def test_header_tells_how_a_small_budget_is_kept(make_config: Make) -> None:
    with_least = f"model.max_memory_gb={least_gb(make_config)}"
    lines = header_lines(*built(make_config(with_least)), CPU)
    assert "1 sample(s) at once, every 1 step(s) recomputed" in lines[-1]


def least_gb(make_config: Make) -> str:
    with pytest.raises(ConfigError) as caught:
        header_lines(*built(make_config("model.max_memory_gb=1e-9")), CPU)
    found = re.search(r"^model\.max_memory_gb: expected at least (\S+) for", str(caught.value))
    assert found is not None
    return found[1]


def test_expected_peak_counts_five_copies_of_every_parameter(make_config: Make) -> None:
    """A wider hidden layer leaves the rollout as it is."""
    kind = "model.transformer.kind=autoencoder"
    found, counts = [], []
    for hidden in (8, 4096):
        built_one = built(make_config(kind, f"model.transformer.hidden={hidden}"))
        found.append(expected_memory(*built_one))
        counts.append(sum(parameter.numel() for parameter in built_one[1].parameters()))
    assert found[0][0] == found[1][0]
    copies = 5 * 4 * (counts[1] - counts[0]) / 2**30
    assert found[1][1] - found[0][1] == pytest.approx(copies, rel=1e-6)


def test_mean_of_the_weights_counts_as_two_more_copies(make_config: Make) -> None:
    without, parts = built(make_config()), built(make_config("training.average_decay=0.9"))
    parameters = sum(parameter.numel() for parameter in parts[1].parameters())
    more = expected_memory(*parts)[1] - expected_memory(*without)[1]
    assert more == pytest.approx(2 * 4 * parameters / 2**30, rel=1e-6)


def test_run_larger_than_free_memory_is_refused(
    make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header, "available_gb", lambda device: 0.25)
    wanted = (
        r"^model\.max_memory_gb: expected a run that fits into the 0\.2 GB free on cpu, got one "
        r"that needs about 0\.8 GB\. Lower model\.max_memory_gb \(work is then split, with the "
        r"same result\), training\.batch_size or lattice\.dimensions"
    )
    with pytest.raises(ConfigError, match=wanted):
        header_lines(*built(make_config()), CPU)


@pytest.mark.parametrize("available", [None, 7.0, 8.0])
def test_run_that_fits_is_not_refused(
    available: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header, "available_gb", lambda device: available)
    check_memory(7.0, CPU)


def test_free_memory_is_what_the_system_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Table:
        def __init__(self, path: str) -> None:
            assert path == "/proc/meminfo"

        def read_text(self, encoding: str) -> str:
            return "MemTotal:  9 kB\nMemFree: 7 kB\nMemAvailable:   3145728 kB\n"

    monkeypatch.setattr(header, "Path", Table)
    monkeypatch.setattr(header, "_cgroup_bytes", lambda root: None)
    monkeypatch.setattr(header.sys, "platform", "linux")
    assert available_gb(CPU) == 3.0
    monkeypatch.setattr(header.sys, "platform", "darwin")
    assert available_gb(CPU) is None


CHANGES = [
    (),
    ("model.aggregation=fft",),
    ("training.activation_checkpointing=true", "training.checkpoint_steps=2"),
    ("model.max_memory_gb=0.0003",),
    ("lattice.dimensions=[9,9,9]", "model.dynamics.steps=8"),
]


@pytest.mark.parametrize("changes", CHANGES)
def test_described_rollout_is_the_plan_of_the_lattice(
    make_config: Make, changes: tuple[str, ...]
) -> None:
    config, student, _ = built(make_config(*changes))
    student.dynamics.checkpoint_steps = config.training.recomputed_steps
    batch, steps = config.training.batch_size, config.model.dynamics.steps
    plan = student.dynamics.plan(batch, steps, 4)
    assert describe(config)["rollout"] == {
        "aggregation": student.dynamics.backend,
        "memory_gb": plan.gb,
        "samples_at_once": plan.samples,
        "recomputed_steps": plan.checkpoint_steps,
        "text": str(plan),
    }


def test_header_tells_the_plan_that_training_follows(make_config: Make) -> None:
    changes = ("training.activation_checkpointing=true", "training.checkpoint_steps=2")
    config, student, graph = built(make_config(*changes))
    assert describe(config)["rollout"]["recomputed_steps"] == 2
    assert "every 2 step(s) recomputed" in header_lines(config, student, graph, CPU)[-1]


def test_description_without_a_lattice_that_runs_has_no_rollout(make_config: Make) -> None:
    assert describe(make_config("model.max_memory_gb=1e-9"))["rollout"] is None
    assert describe(make_config("lattice.adaptive_radius_min=1.0"))["rollout"] is None


def test_dry_run_returns_the_header(make_config: Make) -> None:
    config = make_config()
    lines = dry_run(config)["header"]
    wanted = header_lines(*built(config), CPU)
    assert lines[:-1] == wanted[:-1]
    assert lines[-1].split(" of ")[0] == wanted[-1].split(" of ")[0]


@pytest.mark.parametrize(("mode", "warned"), [("lattice", True), ("wire", False)])
def test_describe_warns_of_samples_that_stop_before_their_input_arrives(
    make_config: Make, mode: str, warned: bool
) -> None:
    dynamics = ("tolerance=0.1", "min_steps=1", f"mode={mode}")
    config = make_config(*(f"model.dynamics.{setting}" for setting in dynamics))
    found = [w for w in describe(config)["warnings"] if w.startswith("model.dynamics.min_steps")]
    assert len(found) == warned


def test_terms_of_states_are_those_that_declare_to_read_them() -> None:
    found = {
        term.__module__.rpartition(".")[2]
        for term in LossTerm.__subclasses__()
        if term.__module__.startswith("latticegraph.losses") and WHOLE_LATTICE & set(term.reads)
    }
    assert found == {*header.OF_STATES, "gates"}


def test_header_reckons_with_the_light_cone_where_terms_read_the_output_alone(
    make_config: Make,
) -> None:
    none = [f"losses.{name}=0" for name in header.OF_STATES]
    cross = ("model.dynamics.steps=2", "model.dynamics.min_steps=2")
    config, student, graph = built(make_config(*cross, *none))
    whole = make_config(*cross)
    seconds = [
        float(header_lines(changed, student, graph, CPU)[3].split()[2])
        for changed in (config, whole)
    ]
    cone = student.dynamics.cones.made(2)
    assert cone is not None
    assert cone.share < 0.7
    assert seconds[0] == pytest.approx(cone.share * seconds[1], rel=0.1)  # two digits are printed
    full = make_config("report.attribution=full")
    assert "and as long for the frozen lattice" in header_lines(*built(full), CPU)[3]
