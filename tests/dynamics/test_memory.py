"""Memory plans: what they choose, that they change nothing, and that they tell the truth."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile

from latticegraph.aggregation.aggregation import summed_stencils
from latticegraph.aggregation.memory import GIB, Work, plan_rollout, shared_bytes
from latticegraph.dynamics import Rollout, TrajectoryRecorder
from latticegraph.errors import ConfigError
from latticegraph.kernels import FusedKernels
from latticegraph.lattice import EdgeType, LatticeGraph
from latticegraph.model import Lattice3D, Student
from tests.model.conftest import assert_same, excite, small_lattice, small_model

Build = Callable[..., Student]
STATE = 1000 * 16 * 4  # bytes of one sample of the work below
BATCH = 5
TYPES = [(kind,) for kind in EdgeType]


def work(gradients: bool = True, batch: int = 8, shared: int = 0) -> Work:
    """Six steps of 1,000 cells with 16 channels."""
    return Work(1000, 16, batch, 6, 16, shared, gradients)


def gb(states: float) -> float:
    return states * STATE / GIB


def test_plan_takes_the_first_way_that_fits() -> None:
    """By hand: 16 tensors a step and 17 besides; one step, its 6 starts; 4 a sample of a chunk."""
    at_once, recomputed = 8 * (6 * 16 + 17), 8 * (16 + 17 + 6)
    expected = {
        at_once: (8, 0, at_once),
        at_once - 1: (8, 1, recomputed),
        recomputed: (8, 1, recomputed),
        recomputed - 1: (7, 1, 7 * 39 + 32),
        5 * 39 + 32: (5, 1, 5 * 39 + 32),
        5 * 39 + 31: (4, 1, 4 * 39 + 32),
        39 + 32: (1, 1, 39 + 32),
    }
    for budget, (samples, every, need) in expected.items():
        plan = plan_rollout(work(), gb(budget))
        assert (plan.samples, plan.checkpoint_steps) == (samples, every)
        assert plan.gb == pytest.approx(gb(need))
    with pytest.raises(ConfigError, match=r"^model\.max_memory_gb: expected at least .* got"):
        plan_rollout(work(), gb(39 + 31))


def test_plan_keeps_the_steps_it_is_told_to_recompute() -> None:
    for every, kept in ((1, 39), (2, 2 * 16 + 17 + 3), (4, 4 * 16 + 17 + 2), (9, 6 * 16 + 17 + 1)):
        for budget, samples in ((8 * kept, 8), (3 * kept + 32, 3)):
            plan = plan_rollout(work(), gb(budget), every)
            assert (plan.samples, plan.checkpoint_steps) == (samples, every)
            assert plan.gb == pytest.approx(gb(budget))


def test_plan_without_gradients_needs_less_and_recomputes_nothing() -> None:
    for samples in range(1, 9):
        assert work(gradients=False).need(samples, 0) < work().need(samples, 0)
    plan = plan_rollout(work(gradients=False), gb(3 * 20))
    assert (plan.samples, plan.checkpoint_steps) == (3, 0)


def test_plan_says_what_it_does() -> None:
    assert str(plan_rollout(work(), gb(1e6))) == "0.05 GB, 8 sample(s) at once"
    text = "0.02 GB, 7 sample(s) at once, every 1 step(s) recomputed in the backward pass"
    assert str(plan_rollout(work(), gb(7 * 39 + 32))) == text


@st.composite
def works(draw: st.DrawFn) -> Work:
    kept = draw(st.integers(2, 40))
    sizes = (st.integers(8, 10**6), st.integers(1, 64), st.integers(1, 70), st.integers(1, 20))
    shared, gradients = draw(st.integers(0, 10**9)), draw(st.booleans())
    return Work(*(draw(size) for size in sizes), kept, shared, gradients)


@given(works(), st.integers(0, 25), st.floats(1e-6, 20))
def test_plan_stays_in_its_budget_and_no_larger_chunk_would(
    work: Work, every: int, budget: float
) -> None:
    try:
        plan = plan_rollout(work, budget, every)
    except ConfigError as error:
        wanted = re.search(r"expected at least (\S+) for", str(error))
        assert wanted is not None
        least = float(wanted[1])
        assert least > budget
        plan_rollout(work, least, every)  # what the message names is enough
        return
    assert plan.gb <= budget
    assert plan.gb == work.need(plan.samples, plan.checkpoint_steps) / GIB
    assert work.gradients or not plan.checkpoint_steps or every
    larger = range(plan.samples + 1, work.batch + 1)
    # One sample of slack for the rounding of the division.
    assert all(work.need(n, plan.checkpoint_steps) > budget * GIB * (1 - 1e-9) for n in larger)


@given(works(), st.integers(0, 25))
def test_need_grows_with_the_samples_of_a_chunk(work: Work, every: int) -> None:
    """Not to the whole batch, which need not be put together again."""
    assume(work.batch > 2)
    needs = [work.need(samples, every) for samples in range(1, work.batch)]
    assert needs == sorted(set(needs))
    assert needs[0] > work.shared_bytes


def test_shared_bytes_are_those_of_the_kernels() -> None:
    """By hand, for 3 x 3 x 3 cells joined to 6 neighbours each: 2 x (9 x 2) x 3 edges."""
    stencils = [summed_stencils(LatticeGraph.build(small_lattice(dimensions=(3, 3, 3))), TYPES)[0]]
    assert stencils[0].num_edges == 108
    assert shared_bytes(stencils, 2, "spmm") == 108 * 2 * (2 * 4 + 4 * 4)
    assert shared_bytes(stencils, 2, "scatter", 8) == 108 * 2 * 8 * 3
    # 4 cells a side with their padding, and half of the frequencies along one axis.
    assert shared_bytes(stencils, 2, "fft") == 2 * 2 * (4 * 4 * 3) * 4 * 3


@contextmanager
def budget(lattice: Lattice3D, gb: float) -> Iterator[None]:
    usual = lattice.settings
    lattice.settings = usual.model_copy(update={"max_memory_gb": gb})
    yield
    lattice.settings = usual


def least_gb(lattice: Lattice3D, steps: int) -> float:
    """The smallest budget that works, as the error names it."""
    with budget(lattice, 1e-9), pytest.raises(ConfigError) as caught:
        lattice.plan(BATCH, steps, 8)
    assert str(caught.value).startswith("model.max_memory_gb: ")
    found = re.search(r"expected at least (\S+) for a rollout of", str(caught.value))
    assert found is not None
    return float(found[1])


def widths_of_steps(lattice: Lattice3D, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Samples of every step taken from now on, repeated ones in the backward pass too."""
    widths, call = [], FusedKernels.__call__

    def counted(self: FusedKernels, x_CM: torch.Tensor, *rest: Any) -> Any:
        widths.append(x_CM.shape[1] // lattice.cells.num_cells)
        return call(self, x_CM, *rest)

    monkeypatch.setattr(FusedKernels, "__call__", counted)
    return widths


def outcome(lattice: Lattice3D) -> dict[str, torch.Tensor | None]:
    """All a rollout returns, and the gradients of a mixture of it."""
    generator = torch.Generator().manual_seed(9)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x_CNB = random(4, lattice.cells.num_cells, BATCH).requires_grad_()
    lattice.zero_grad()
    recorder = TrajectoryRecorder()
    rollout: Rollout = lattice.rollout(x_CNB, recorder=recorder)
    weigh = [rollout.states_CNB, rollout.usage_XN, rollout.change_T, rollout.z]
    total = sum(((value * random(*value.shape)).sum() for value in weigh), torch.zeros(()))
    total.backward()
    grads = {f"grad {name}": p.grad for name, p in lattice.named_parameters()}
    states = {"trajectory": recorder.trajectory_TCNB}
    return {**vars(rollout), **states, **grads, "grad x": x_CNB.grad}


ADAPTIVE = {"steps": 6, "min_steps": 3, "tolerance": 0.7, "patience": 1}


def excited(build: Build, backend: str, dynamics: dict[str, Any] | None = None) -> Lattice3D:
    settings = {"aggregation": backend, "gating": {"z_weight": 0.1}}
    if dynamics is not None:
        settings["dynamics"] = dynamics
    student = build(settings, started=False)
    excite(student)
    return student.dynamics


@pytest.mark.parametrize("backend", ["fft", "spmm"])
@pytest.mark.parametrize("dynamics", [None, ADAPTIVE], ids=["all steps", "adaptive"])
def test_smallest_budget_that_works_changes_no_result_and_no_gradient(
    build: Build, backend: str, dynamics: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lattice = excited(build, backend, dynamics)
    steps = lattice.settings.dynamics.steps
    wanted = outcome(lattice)
    if dynamics is not None:
        stopped = wanted["steps_B"]
        assert stopped is not None
        assert len(stopped.unique()) > 1, "samples must stop apart for chunks to differ"
    widths = widths_of_steps(lattice, monkeypatch)
    with budget(lattice, least_gb(lattice, steps)):
        plan = lattice.plan(BATCH, steps, 8)
        assert (plan.samples, plan.checkpoint_steps) == (1, 1)
        got = outcome(lattice)
    assert set(widths) == {1}
    for name, value in wanted.items():
        assert_same(got[name], value, 1e-11)


@pytest.mark.parametrize("backend", ["fft", "spmm"])
def test_uneven_chunks_change_no_result_and_no_gradient(build: Build, backend: str) -> None:
    lattice = excited(build, backend)
    wanted = outcome(lattice)
    least, chunks = least_gb(lattice, 4), set()
    for factor in (1.7, 2.4):
        with budget(lattice, least * factor):
            chunks.add(lattice.plan(BATCH, 4, 8).samples)
            got = outcome(lattice)
        for name, value in wanted.items():
            assert_same(got[name], value, 1e-11)
    assert len(chunks) == 2
    assert chunks < {2, 3, 4}


@pytest.mark.parametrize("backend", ["fft", "spmm"])
@pytest.mark.parametrize("every", [1, 2, 3, 9])
@pytest.mark.parametrize("dynamics", [None, ADAPTIVE], ids=["all steps", "adaptive"])
def test_recomputed_steps_change_no_result_and_no_gradient(
    build: Build, backend: str, every: int, dynamics: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lattice = excited(build, backend, dynamics)
    widths = widths_of_steps(lattice, monkeypatch)
    wanted = outcome(lattice)
    once = len(widths)
    lattice.checkpoint_steps = every
    got = outcome(lattice)
    assert widths == [BATCH] * 3 * once, "every step again in the backward pass"
    for name, value in wanted.items():
        assert_same(got[name], value, 1e-12)


def test_plan_follows_whether_gradients_are_wanted(build: Build) -> None:
    lattice = excited(build, "spmm")
    with_gradients = lattice.plan(BATCH, 4, 8)
    with torch.no_grad():
        without = lattice.plan(BATCH, 4, 8)
    assert without.gb < with_gradients.gb
    assert lattice.plan(BATCH, 4, 4).gb == pytest.approx(with_gradients.gb / 2, rel=0.2)


def peak_bytes(done: Callable[[], None], trace: Path) -> int:
    """Most bytes that torch's allocator held at once, beyond what it held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        done()
    profiler.export_chrome_trace(str(trace))
    events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak


@pytest.mark.parametrize(
    ("backend", "kernel"),
    [("spmm", "auto"), ("fft", "auto"), ("spmm", "plain"), ("fft", "plain"), ("scatter", "plain")],
)
@pytest.mark.parametrize("way", ["at once", "recomputed", "in chunks", "without gradients"])
def test_planned_memory_is_about_what_a_rollout_takes(
    backend: str, kernel: str, way: str, tmp_path: Path
) -> None:
    """Single precision; a cube where states outweigh kernels."""
    graph = LatticeGraph.build(small_lattice(dimensions=(9, 9, 9), adaptive_radius_min=2.0))
    settings = small_model(state_channels=16, kernel=kernel, dynamics={"steps": 5, "min_steps": 5})
    lattice = Lattice3D(settings, graph, backend)
    x_CNB = torch.randn(16, graph.num_cells, 16)
    gradients = way != "without gradients"
    if way == "recomputed":
        lattice.checkpoint_steps = 1
    if way == "in chunks":
        one = lattice.plan(4, 5, 4)
        lattice.settings = settings.model_copy(update={"max_memory_gb": one.gb})

    def rollout() -> None:
        with torch.set_grad_enabled(gradients):
            states = lattice.rollout(x_CNB).states_CNB
            if gradients:
                states.square().mean().backward()
        lattice.zero_grad()

    with torch.set_grad_enabled(gradients):
        plan = lattice.plan(16, 5, 4)
    assert (plan.samples < 16) == (way == "in chunks")
    rollout()  # kernels and plans that are made once
    taken = peak_bytes(rollout, tmp_path / "trace.json") / GIB
    assert 0.5 < taken / plan.gb < 1.1


@pytest.mark.parametrize(
    ("gradients", "every", "added"), [(True, 0, 6 * 3 + 6), (True, 4, 4 * 3 + 6), (False, 0, 6)]
)
def test_messages_of_experts_are_counted(gradients: bool, every: int, added: int) -> None:
    """By hand, with three messages: kept in every step, and two of them once besides."""
    plain = work(gradients=gradients)
    with_messages = replace(plain, messages=3)
    assert with_messages.need(8, every) - plain.need(8, every) == added * 8 * STATE
