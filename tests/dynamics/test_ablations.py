"""Ablations take out of a part what it says about its own sample, and no more."""

from __future__ import annotations

import pytest
import torch

from latticegraph.dynamics import AblateCells, AblateEdges, AblateExpert, SilenceEdges
from latticegraph.dynamics.ablations import ablated, other_samples
from latticegraph.lattice import EdgeType
from tests.dynamics.test_interventions import BACKENDS, Everything, lattice, states
from tests.model.conftest import assert_same


@pytest.mark.parametrize("count", [2, 3, 17])
def test_every_sample_gives_to_one_other(count):
    donor_B = other_samples(count, seed=4)
    assert sorted(donor_B.tolist()) == list(range(count))
    assert not (donor_B == torch.arange(count)).any()


def test_the_usual_choice_of_samples_is_that_of_seed_0():
    assert other_samples(17).equal(other_samples(17, 0))
    assert not other_samples(17).equal(other_samples(17, 1))


def test_kinds_by_hand():
    value_CNB = torch.tensor([[[1.0, 2.0, 6.0]]])
    assert ablated(value_CNB, "zero").tolist() == [[[0.0] * 3]]
    assert ablated(value_CNB, "mean").tolist() == [[[3.0] * 3]]
    assert ablated(value_CNB, "resample")[0, 0].equal(value_CNB[0, 0][other_samples(3)])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", ["zero", "mean", "resample"])
def test_update_of_an_expert_is_ablated_at_the_steps_named(backend, how):
    made, recorder = lattice(backend), Everything()
    made.rollout(states(), recorder=recorder, interventions=[AblateExpert([2], "functional", how)])
    plain = Everything()
    made.rollout(states(), recorder=plain)
    for record, free in zip(recorder.records[:2], plain.records[:2], strict=True):
        moved = record.proposals["functional"] - record.before_CNb
        wanted = free.proposals["functional"] - free.before_CNb
        assert_same(moved, ablated(wanted, how) if record.step == 2 else wanted, 1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", ["zero", "mean", "resample"])
def test_cells_are_ablated_and_no_others(backend, how):
    made, recorder, plain = lattice(backend), Everything(), Everything()
    made.rollout(states(), recorder=recorder, interventions=[AblateCells([1], [3, 9], how)])
    made.rollout(states(), recorder=plain)
    found, free = recorder.records[0].after_CNb, plain.records[0].after_CNb
    assert_same(found[:, [3, 9]], ablated(free[:, [3, 9]], how), 1e-12)
    others = [cell for cell in range(60) if cell not in (3, 9)]
    assert_same(found[:, others], free[:, others], 1e-12)
    assert not torch.allclose(found[:, [3, 9]], free[:, [3, 9]])


@pytest.mark.parametrize("backend", BACKENDS)
def test_zero_ablation_of_an_edge_type_silences_it(backend):
    made = lattice(backend)
    for kind in EdgeType:
        zero = made.rollout(states(), interventions=[AblateEdges(edges=kind, how="zero")])
        silent = made.rollout(states(), interventions=[SilenceEdges(edges=kind)])
        assert_same(zero.states_CNB, silent.states_CNB, 1e-10)


def between_cells(how):
    return [AblateEdges(edges=kind, how=how) for kind in (EdgeType.FUNCTIONAL, EdgeType.DISTANT)]


def moved_cells(edits, *changes):
    """Numbers of cells whose states move, by sample, when cell 7 of some samples is changed."""
    made, x = lattice(), states(4)
    y = x.clone()
    for sample, change in enumerate(changes):
        y[:, 7, sample] += change
    with torch.no_grad():
        after, before = (made.rollout(z, 1, interventions=edits).states_CNB for z in (y, x))
    moved_NB = (after - before).abs().amax(0) > 1e-9
    return [moved_NB[:, sample].nonzero().flatten().tolist() for sample in range(4)]


def test_resampled_messages_tell_another_sample_and_not_the_own_one():
    found = moved_cells(between_cells("resample"), 1.0)
    assert found[0] == [7]
    receiver = other_samples(4).tolist().index(0)
    assert len(found[receiver]) > 5
    assert all(not cells for sample, cells in enumerate(found) if sample not in (0, receiver))


def test_messages_at_their_mean_tell_nothing_that_cancels_between_samples():
    assert moved_cells(between_cells("mean"), 1.0, -1.0) == [[7], [7], [], []]
    assert all(len(cells) > 5 for cells in moved_cells(between_cells("mean"), 1.0))


def test_two_types_changed_at_once_are_changed_each():
    made = lattice()
    kinds = (EdgeType.LOCAL, EdgeType.DISTANT)
    both = [AblateEdges(edges=kind, how="zero") for kind in kinds]
    silent = [SilenceEdges(edges=kind) for kind in kinds]
    mixed = [AblateEdges(edges=kinds[0], how="zero"), SilenceEdges(edges=kinds[1])]
    wanted = made.rollout(states(), interventions=silent).states_CNB
    for edits in (both, mixed):
        assert_same(made.rollout(states(), interventions=edits).states_CNB, wanted, 1e-10)
