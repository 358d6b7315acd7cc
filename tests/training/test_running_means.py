from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from latticegraph.training.running_means import RunningMeans, std_ratio


def _output(scale, usage, change=(0.5, 0.3)):
    return SimpleNamespace(
        embedding_BD=torch.tensor([[3.0, 4.0], [-3.0, -4.0]]) * scale,
        usage_NX=torch.tensor(usage),
        change_T=torch.tensor(change),
        steps_B=torch.tensor([2, 3]),
    )


TARGET_BD = torch.tensor([[3.0, 4.0], [-3.0, -4.0]])
NAMES = ("local", "functional", "distant")
ONE = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
OTHER = [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]


def _filled():
    means = RunningMeans(NAMES, 3)
    means.add({"total": torch.tensor(1.0)}, _output(1.0, ONE), TARGET_BD)
    means.add({"total": torch.tensor(2.0)}, _output(0.5, OTHER), TARGET_BD)
    means.add_norm(torch.tensor(4.0))
    return means


def test_means_over_two_passes_by_hand():
    means = _filled().means()
    assert means["losses"] == {"total": 1.5}
    assert means["usage"] == {"local": 0.25, "functional": 0.75, "distant": 0.0}
    # The first cell used two experts half the time each, the second only one.
    assert means["usage_entropy"] == pytest.approx(0.5 * 0.6309297535714574)
    assert means["embedding_norm"] == pytest.approx(3.75)
    assert means["prediction_std_ratio"] == pytest.approx(0.75)
    assert means["change"] == pytest.approx([0.5, 0.3, 0.0])
    assert means["steps_used"] == 2.5
    assert means["grad_norm"] == {"total": 4.0}


def test_restored_means_continues_exactly_and_apart():
    first, copy = _filled(), RunningMeans(NAMES, 3)
    copy.restore(first.tensors(), torch.device("cpu"))
    assert copy.means() == first.means()
    copy.add({"total": torch.tensor(9.0)}, _output(1.0, ONE), TARGET_BD)
    assert first.means()["losses"] == {"total": 1.5}
    assert (copy.passes(), first.passes()) == (3, 2)
    first.clear()
    assert first.passes() == 0


def test_std_ratio_of_equal_scaled_and_collapsed_predictions():
    rows = torch.randn(50, 8)
    assert float(std_ratio(rows, rows)) == 1
    assert float(std_ratio(0.1 * rows + 3, rows)) == pytest.approx(0.1, rel=1e-4)
    assert float(std_ratio(torch.ones(50, 8), rows)) == 0
