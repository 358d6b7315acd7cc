"""Lesions cost what the parts are worth, and maps agree where they were made to."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from latticegraph.analysis.lesions import (
    agreement,
    blocks_of,
    lost_by_class,
    lost_variance,
    measure_lesions,
    parts_of,
)
from latticegraph.analysis.recording import kept_cells, record_model
from latticegraph.analysis.selective_use import explained, importance, selective_use
from latticegraph.dynamics import AblateCells
from latticegraph.errors import DataError


def measured(model, heldout, groups, train_mean_D, **more):
    return measure_lesions(model, heldout, groups, train_mean_D, parts_of(model), **more)


@pytest.fixture(scope="module")
def found(model, heldout, groups, train_mean_D):
    return measured(model, heldout, groups, train_mean_D)


def rows_of(found):
    rows = lost_variance(found, resamples=200)
    return {(row["kind"], row["part"], row["ablation"]): row for row in rows}


def test_every_part_is_measured_in_every_way(found):
    kinds = [(kind, how) for kind, _, how in found.lesioned]
    for how in ("zero", "mean", "resample"):
        assert kinds.count(("expert", how)) == kinds.count(("edges", how)) == 3
        assert kinds.count(("plane", how)) == 5
    assert kinds.count(("block", "mean")) == len(kinds) - 33 == 3 * 4 * 4


def test_back_plane_is_worth_all_and_intervals_hold_the_values(found, model, heldout):
    rows = rows_of(found)
    whole = 1 - found.whole_S.sum() / found.spread_S.sum()
    # Without its text the readout gives the mean prediction: all explained variance is lost.
    predicted = model.predict(torch.from_numpy(heldout.source_ND)).double().numpy()
    constant_S = np.square(predicted.mean(0) - heldout.target_ND).sum(1)
    lost = whole - (1 - constant_S.sum() / found.spread_S.sum())
    assert rows["plane", "4", "mean"]["value"] == pytest.approx(lost, abs=1e-5)
    # Another sample's output is twice as far from the target as the mean.
    assert rows["plane", "4", "resample"]["value"] > 1.5 * lost
    for row in rows.values():
        assert row["interval"][0] <= row["value"] + 1e-9
        assert row["interval"][1] >= row["value"] - 1e-9
    assert max(rows["expert", name, "zero"]["value"] for name in ("local", "distant")) > 1e-3


def test_a_part_without_part_costs_nothing(model, heldout, groups, train_mean_D):
    silent = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in silent.student.dynamics.experts["functional"].parameters():
            parameter.zero_()
    rows = rows_of(measured(silent, heldout, groups, train_mean_D, ablations=["mean"]))
    for key in (("expert", "functional", "mean"), ("edges", "functional", "mean")):
        assert rows[key]["value"] == pytest.approx(0, abs=1e-6)


def test_classes_add_up_to_the_whole(found):
    code_S = np.arange(len(found.whole_S)) % 3
    lost_KR = lost_by_class(found, "plane", "mean", code_S)
    one_KS = np.arange(3)[:, None] == code_S
    share_K = one_KS @ found.spread_S / found.spread_S.sum()
    rows = rows_of(found)
    wanted = [rows["plane", str(depth), "mean"]["value"] for depth in range(5)]
    np.testing.assert_allclose(share_K @ lost_KR, wanted, atol=1e-9)


def test_blocks_divide_every_axis(model):
    block_N = blocks_of(model.graph, 2)
    place_N3 = model.graph.coordinates_N3.numpy()
    assert sorted(set(block_N.tolist())) == list(range(8))
    for block in range(8):
        inside = place_N3[block_N == block]
        assert (np.ptp(inside, axis=0) < [2, 2, 3]).all()


def test_maps_agree_within_planes_alone():
    random = np.random.default_rng(0)
    plane_N = np.repeat(np.arange(4), 16)
    depth_N = 5.0 * plane_N
    map_N = random.normal(size=64)
    noise_N = random.normal(size=64)
    assert agreement(depth_N + map_N, depth_N + map_N + 0.3 * noise_N, plane_N) > 0.85
    assert agreement(depth_N + map_N, -map_N, plane_N) == pytest.approx(-1.0)
    assert abs(agreement(depth_N + map_N, depth_N + noise_N, plane_N)) < 0.3
    assert agreement(depth_N, depth_N, plane_N) == 0.0


def test_importance_ranks_cells_as_their_ablation_does(model, heldout):
    cost_SN, variance_N = importance(model, heldout)
    assert cost_SN.shape == (48, 60)
    assert (variance_N >= 0).all()
    assert np.abs(cost_SN).max() > 0
    assert np.corrcoef(cost_SN.mean(0), costs_of_cells(model, heldout))[0, 1] > 0.7


def costs_of_cells(model, heldout):
    """Cost of the mean ablation of each cell at each step between two, added up."""
    source = torch.from_numpy(heldout.source_ND)

    def error(edits):
        predicted = model.run(source, 48, interventions=edits).embedding_ND.double().numpy()
        return np.square(predicted - heldout.target_ND).sum() / 48

    return [
        sum(error([AblateCells([t], [n])]) for t in (1, 2, 3)) - 3 * error([]) for n in range(60)
    ]


def test_chosen_cells_carry_more_than_random_ones(model, heldout, train_mean_D):
    code_S = np.arange(48) % 2
    errors = selective_use(model, heldout, code_S, heldout, code_S, kept=(0.5, 0.25))
    spread_S = np.square(heldout.target_ND - train_mean_D).sum(1)
    own, random = (explained(errors[name], spread_S) for name in ("own", "random"))
    assert own[0.5] > random[0.5] + 0.02
    assert own[0.25] > random[0.25] + 0.02
    assert own[0.5] > own[0.25]


def test_one_step_has_no_state_between(make_model, heldout):
    model = make_model()
    model.student.settings = model.student.settings.model_copy(
        update={"dynamics": model.student.settings.dynamics.model_copy(update={"steps": 1})}
    )
    with pytest.raises(DataError, match=r"model.dynamics.steps: expected at least 2"):
        importance(model, heldout)


def test_recording_holds_states_and_gates_in_order(model, heldout):
    source = torch.from_numpy(heldout.source_ND)
    whole, parts = (record_model(model, source, batch_size=size) for size in (48, 7))
    assert whole.states_TSnC.shape == (5, 48, 60, 4)
    assert whole.gates_TSnX.shape == (4, 48, 60, 3)
    for name in ("states_TSnC", "gates_TSnX", "code_SF", "output_SD"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-5)
    np.testing.assert_allclose(whole.gates_TSnX.sum(3), 1, atol=1e-5)
    np.testing.assert_allclose(whole.output_SD, model.predict(source), atol=1e-5)
    assert whole.face().shape == (48, 48)
    assert whole.layer(4, 4) == pytest.approx(whole.face())
    assert np.ptp(whole.layer(0, 1), axis=0).max() == 0  # no text has arrived there yet


def test_large_lattices_keep_cells_of_every_plane(model, heldout):
    source = torch.from_numpy(heldout.source_ND)
    few = record_model(model, source, most_numbers=48 * 5 * 4 * 20)
    assert len(few.cells_n) == 20
    assert np.bincount(few.depth_n).tolist() == [4] * 5
    every = record_model(model, source)
    np.testing.assert_array_equal(few.states_TSnC, every.states_TSnC[:, :, few.cells_n])
    assert len(kept_cells(np.arange(6) // 2, 1)) == 3
