"""Recorders see every step and change nothing; interventions change what they name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from latticegraph.dynamics import (
    Recorder,
    ReplaceCells,
    ReplaceGate,
    SilenceEdges,
    SilenceExpert,
    StepRecord,
)
from latticegraph.errors import ConfigError
from latticegraph.lattice import EdgeType, LatticeGraph
from latticegraph.model import Lattice3D, Student
from tests.model.conftest import assert_same, excite, small_lattice, small_model

Build = Callable[..., Student]
BACKENDS = ["spmm", "fft", "scatter"]


class Everything(Recorder):
    """Keeps every record."""

    def __init__(self) -> None:
        self.records: list[StepRecord] = []

    def record(self, record: StepRecord) -> None:
        self.records.append(record)


def lattice(backend: str = "spmm", **model: Any) -> Lattice3D:
    graph = LatticeGraph.build(small_lattice(dimensions=(3, 4, 5), numbering="morton"))
    torch.manual_seed(3)
    made = Lattice3D(small_model(**model), graph, backend).double()
    excite(made)
    return made


def states(batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 60, batch, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kernel", ["auto", "plain"])
def test_new_state_is_the_gated_mean_of_the_recorded_proposals(backend: str, kernel: str) -> None:
    made, recorder = lattice(backend, kernel=kernel), Everything()
    rollout = made.rollout(states(), recorder=recorder)
    assert [record.step for record in recorder.records] == [1, 2, 3, 4]
    for record in recorder.records:
        assert list(record.proposals) == ["local", "functional", "distant"]
        mixed = sum(
            (gate * y for gate, y in zip(record.gates_XNb, record.proposals.values(), strict=True)),
            torch.zeros(()),
        )
        assert_same(record.after_CNb, mixed, 1e-12)
    assert torch.equal(recorder.records[0].before_CNb, states())
    assert torch.equal(recorder.records[-1].after_CNb, rollout.states_CNB)
    usage = torch.stack([record.gates_XNb for record in recorder.records]).mean(dim=(0, 3))
    assert_same(rollout.usage_XN, usage, 1e-12)


@pytest.mark.parametrize("recomputed", [0, 1])
def test_recording_changes_nothing_and_sees_every_step_once(recomputed: int) -> None:
    """Also where memory asks for chunks, and where the backward pass repeats the steps."""
    results = []
    for recorder in (None, Everything()):
        made = lattice()
        made.checkpoint_steps = recomputed
        if recomputed:
            budget = made.plan(1, 4, 8).gb * 1.5
            made.settings = made.settings.model_copy(update={"max_memory_gb": budget})
        rollout = made.rollout(states(), recorder=recorder)
        rollout.states_CNB.square().sum().backward()
        results.append([rollout.states_CNB, *[p.grad for p in made.parameters()]])
        if recorder is not None:
            seen = [(record.samples.start, record.step) for record in recorder.records]
            assert len(seen) == len(set(seen))
            starts = {start for start, _ in seen}
            assert (len(starts) > 1) == bool(recomputed)
            assert {step for _, step in seen} == {1, 2, 3, 4}
    for without, recorded in zip(*results, strict=True):
        assert without is not None
        assert recorded is not None
        assert torch.equal(without, recorded)


@pytest.mark.parametrize("backend", BACKENDS)
def test_silenced_expert_contributes_nothing_at_the_steps_named(backend: str) -> None:
    made, recorder = lattice(backend), Everything()
    edits = [SilenceExpert([2], "functional")]
    made.rollout(states(), recorder=recorder, interventions=edits)
    for record in recorder.records:
        moved = record.proposals["functional"] - record.before_CNb
        assert bool(moved.any()) == (record.step != 2)
        updates = [y - record.before_CNb for y in record.proposals.values()]
        mixed = [g * u for g, u in zip(record.gates_XNb, updates, strict=True)]
        assert_same(record.after_CNb, record.before_CNb + sum(mixed), 1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gate_of_one_expert_alone_gives_its_proposal(backend: str) -> None:
    made, recorder = lattice(backend), Everything()
    edits = [
        ReplaceGate(name="local", share=0.0),
        ReplaceGate(name="functional", share=0.0),
        ReplaceGate(name="distant", share=1.0),
    ]
    made.rollout(states(), recorder=recorder, interventions=edits)
    for record in recorder.records:
        assert_same(record.after_CNb, record.proposals["distant"], 1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_edges_between_cells_silenced_isolate_every_cell(backend: str) -> None:
    made = lattice(backend)
    edits = [SilenceEdges(edges=EdgeType.FUNCTIONAL), SilenceEdges(edges=EdgeType.DISTANT)]
    x, y = states(1), states(1)
    y[:, 7] += 1.0
    moved = (
        made.rollout(y, interventions=edits).states_CNB
        - made.rollout(x, interventions=edits).states_CNB
    )
    assert (moved.abs().amax(dim=(0, 2)) > 1e-9).nonzero().flatten().tolist() == [7]
    free = made.rollout(y).states_CNB - made.rollout(x).states_CNB
    assert int((free.abs().amax(dim=(0, 2)) > 1e-9).sum()) > 20


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, 4])
def test_replaced_cells_hold_their_values(backend: str, batch: int) -> None:
    """A number, values shared by all samples, and values of each sample, in chunks too."""
    made, recorder = lattice(backend), Everything()
    each = torch.randn(4, 2, batch, dtype=torch.float64)
    edits = [
        ReplaceCells([1], [3, 9], 0.0),
        ReplaceCells([2], torch.tensor([3, 9]), each[:, :, :1]),
        ReplaceCells([3], [3, 9], each),
    ]
    budget = made.plan(1, 4, 8).gb * 1.2
    made.settings = made.settings.model_copy(update={"max_memory_gb": budget})
    made.rollout(states(batch), recorder=recorder, interventions=edits)
    wanted = {1: torch.zeros(4, 2, 1).double(), 2: each[:, :, :1], 3: each}
    for record in recorder.records:
        found = record.after_CNb[:, [3, 9]]
        if record.step == 4:
            assert not torch.allclose(found, each[:, :, record.samples])
            continue
        values = wanted[record.step]
        values = values[:, :, record.samples] if values.shape[2] > 1 else values
        assert torch.equal(found, values.expand_as(found))


def test_intervention_at_a_later_step_leaves_the_earlier_ones_alone() -> None:
    made, plain, edited = lattice(), Everything(), Everything()
    made.rollout(states(), recorder=plain)
    edits = [ReplaceGate([3], "local", 0.9)]
    made.rollout(states(), recorder=edited, interventions=edits)
    for step, (one, two) in enumerate(zip(plain.records, edited.records, strict=True), start=1):
        assert torch.equal(one.after_CNb, two.after_CNb) == (step < 3)


def test_intervention_in_an_unknown_expert_is_an_error(build: Build) -> None:
    wanted = r"^interventions: expected one of the experts local, functional, distant, got 'far'"
    with pytest.raises(ConfigError, match=wanted):
        lattice().rollout(states(), interventions=[SilenceExpert(name="far")])
    student = build({"dynamics": {"steps": 4, "min_steps": 4, "mode": "wire"}}, started=False)
    with pytest.raises(ConfigError, match="expected none for dynamics without a lattice"):
        student.dynamics.rollout(
            torch.zeros(4, 80, 1).double(), interventions=[SilenceExpert(name="local")]
        )
