"""Several processes that hold slabs of one cube make the updates of one that holds all of it."""

from __future__ import annotations

import json
import signal

import pytest
import torch

from latticegraph.config import LatticeSettings
from latticegraph.distributed import ALONE
from latticegraph.distributed.neighbours import swap
from latticegraph.training import MACHINE_FIELDS, read_checkpoint

BATCH = 12
EXACT = {"rtol": 1e-9, "atol": 1e-9}
KINDS = [
    "slabs",
    "slabs states",
    "slabs adaptive",
    "slabs own term",
    "slabs weighed",
    "slabs table",
    "slabs recomputed",
    "slabs recipe",
]
NINE = LatticeSettings(dimensions=(9, 4, 5), adaptive_radius_min=2.0)


def assert_same(found, wanted, **close):
    assert found.keys() - {"held"} == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, **close, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("job", KINDS)
def test_updates_of_slabs_are_those_of_one_process(slab_results, job, size):
    """Gradients, moments, weights, terms of the loss, and what the trained student then does."""
    (one,) = slab_results(1)[1]
    terms = ("reconstruction", "spatial", "emergence", "dynamics", "gate_z", "gate_balance")
    assert all(one[job][f"means.losses.{term}"] > 0 for term in terms)
    assert any(name.startswith("grad.mapper") for name in one[job])
    for own in slab_results(size)[1]:
        assert_same(own[job], one[job], **EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_every_process_holds_its_planes_only(slab_results, size):
    shares = {2: [80, 100], 3: [60, 60, 60]}[size]
    for rank, own in enumerate(slab_results(size)[1]):
        assert own["slabs"]["held"].tolist() == [shares[rank], *shares]
        assert own["slabs"]["states"].shape[1] == 180


@pytest.mark.slow
def test_samples_on_slabs_stop_as_they_do_in_one_process(slab_results):
    (one,) = slab_results(1)[1]
    assert len(one["slabs adaptive"]["steps_B"].unique()) > 1


def _records(folder, run):
    lines = (folder / run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [{k: v for k, v in row.items() if k not in MACHINE_FIELDS} for row in rows]


@pytest.mark.slow
def test_processes_with_slabs_drop_the_same_units(slab_results):
    """Unlike shares of a batch, they run the same samples."""
    first, second = (own["slabs fit"]["dropped"] for own in slab_results(2)[1])
    assert 0.2 < first.double().mean() < 0.4
    assert torch.equal(first, second)
    assert not torch.equal(first[:BATCH], first[BATCH : 2 * BATCH])


@pytest.mark.slow
def test_processes_with_slabs_add_the_same_noise(slab_results):
    first, second = (own["slabs fit"]["noise"] for own in slab_results(2)[1])
    assert float(first.std()) > 0.01
    assert torch.equal(first, second)
    assert not torch.equal(first[:BATCH], first[BATCH : 2 * BATCH])


@pytest.mark.slow
def test_training_on_slabs_agrees_with_one_process(slab_results):
    first, second = (_records(slab_results(size)[0], "slabs plain") for size in (1, 2))
    # No process that holds a slab looks at the whole cube.
    first = [row for row in first if row["kind"] != "cube"]
    assert len(first) == len(second) > 4
    for one, two in zip(first, second, strict=True):
        if "losses" in one:
            assert two["losses"] == pytest.approx(one["losses"], rel=1e-9)
    values = [
        [row["explained_variance"] for row in rows if row["kind"] == "validation"]
        for rows in (first, second)
    ]
    assert values[1] == pytest.approx(values[0], rel=1e-9)


@pytest.mark.slow
def test_signal_stops_all_slabs_and_the_resume_is_exact(slab_results):
    folder, two = slab_results(2)
    for own in two:
        assert own["slabs stopped"]["result"].tolist()[:2] == [5, signal.SIGTERM]
        straight, resumed = own["slabs fit"], own["slabs resumed"]
        assert straight["result"].tolist()[:2] == [8, 0]
        # Three updates of two passes were left, with two layers that drop.
        left = 3 * 2 * 2 * BATCH
        assert len(resumed["dropped"]) == left
        assert torch.equal(resumed["dropped"], straight["dropped"][-left:])
        assert torch.equal(resumed["noise"], straight["noise"][-left // 2 :])
        assert int(resumed["average.updates"]) == 8
        names = straight.keys() - {"dropped", "noise"}
        assert all(torch.equal(straight[name], resumed[name]) for name in names)
    assert _records(folder, "slabs") == _records(folder, "slabs again")
    runs = ("slabs", "slabs again")
    last = [read_checkpoint(folder / run / "checkpoints" / "last.safetensors") for run in runs]
    assert all(torch.equal(last[0].random[n], last[1].random[n]) for n in last[0].random)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_swap_gives_each_neighbour_what_is_meant_for_it(slab_results, size):
    for rank, own in enumerate(slab_results(size)[1]):
        before, after = own["swapped"]["from_before"], own["swapped"]["from_after"]
        wanted = torch.full((2, 3), 10.0 * (rank - 1) + 2) if rank else torch.empty(0, 3)
        assert torch.equal(before, wanted)
        wanted = torch.full((2, 3), 10.0 * (rank + 1) + 1)
        assert torch.equal(after, wanted if rank < size - 1 else torch.empty(0, 3))


def test_swap_alone_receives_nothing():
    before, after = swap(torch.ones(2, 3), torch.ones(2, 3), ALONE)
    assert before.shape == after.shape == (0, 3)
