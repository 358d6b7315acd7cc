"""Collectives of real processes against one process that holds all their tensors."""

from __future__ import annotations

import pytest
import torch

from latticegraph.distributed import ALONE, all_gather, all_sum

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[2, 3])
def found(request, results):
    return [own["collectives"] for own in results(request.param)[1]]


def _expected(size):
    """Values, and gradients of the sum of the scalars of all processes."""
    xs = [torch.arange(6.0, dtype=torch.float64).view(2, 3).add(7 * r + 1) for r in range(size)]
    ys, start = [], 0
    for rank in range(size):
        stop = start + 2 * (2 + rank)
        ys.append(torch.arange(start, stop, dtype=torch.float64).view(2, -1) / 9)
        start = start + 10 * (2 + rank)
    for tensor in (*xs, *ys):
        tensor.requires_grad_()
    total, rows, columns = sum(xs), torch.cat(xs), torch.cat(ys, dim=1)
    scalar = total.sin().sum() + rows.pow(3).sum() + (columns.cos() * total[0, 0]).sum()
    (scalar * sum(range(1, size + 1))).backward()
    return xs, ys, total, rows, columns


def test_collectives_have_the_values_and_true_gradients_of_one_process(found, tolerances):
    xs, ys, *values = _expected(len(found))
    close = tolerances[torch.float64]
    for rank, own in enumerate(found):
        for name, value in zip(("total", "rows", "columns"), values, strict=True):
            torch.testing.assert_close(own[name], value.detach(), **close)
        torch.testing.assert_close(own["x"], xs[rank].grad, **close)
        torch.testing.assert_close(own["y"], ys[rank].grad, **close)


def test_sums_in_place_and_copies_reach_every_process(found):
    total = sum(range(1, len(found) + 1))
    for own in found:
        assert own["bucket"].tolist() == [total] * 4 + [10 * total] * 3
        assert own["copied"].eq(0).all()


def test_processes_agree_on_numbers_flags_and_words(found):
    for own in found:
        assert own["agreed"].tolist() == [3 * (len(found) - 1), 1, 0]
        assert own["said"].all()


def test_single_process_gets_its_own_tensors_back():
    x = torch.ones(2)
    assert all_sum(x, ALONE) is x
    assert all_gather(x, ALONE) is x
    assert (ALONE.largest(3), ALONE.any_of(True), ALONE.from_writer(0.5)) == (3, True, 0.5)
    assert ALONE.writer_first(lambda: "made") == "made"
