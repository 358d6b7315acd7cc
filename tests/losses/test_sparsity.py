from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from latticegraph.losses import SparsityLoss
from latticegraph.model.output import StudentOutput

MakeOutput = Callable[..., StudentOutput]


def states(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 9, 16, generator=generator, dtype=torch.float64)


def test_sparsity_known_values(make_output: MakeOutput) -> None:
    loss = SparsityLoss()
    target = torch.zeros(2, 3)

    def of(x: Tensor) -> float:
        return loss(make_output(states_CNB=x), target).item()

    x = states()
    assert of(x.sign()) == pytest.approx(1)
    assert of(torch.randn(50, 20, 50)) == pytest.approx((2 / torch.pi) ** 0.5, abs=0.01)
    quarter = torch.zeros(4, 9, 16)
    quarter[0] = -3.0
    assert of(quarter) == pytest.approx(0.5)
    assert of(100 * x) == pytest.approx(of(x))
    assert of(torch.zeros(2, 2, 2)) == 0


def test_sparsity_sums_over_processes_before_it_divides(make_output: MakeOutput) -> None:
    x = states()
    loss = SparsityLoss()
    other = torch.tensor([5.0, 40.0, 100.0])
    loss.reduce = lambda sums: sums + other
    found = loss(make_output(states_CNB=x), torch.zeros(2, 3)).item()
    count = x.numel() + 100
    size, square = float(x.abs().sum()) + 5, float(x.square().sum()) + 40
    assert found == pytest.approx(size / count / (square / count) ** 0.5)


def test_sparsity_training_concentrates_activations_that_must_keep_a_sum(make_output) -> None:
    """A linear readout must keep its value: alone it leaves all channels in use, with L1 few."""

    def train(weight: float) -> Tensor:
        x = states().requires_grad_()
        wanted = states().sum(0)
        optimizer = torch.optim.Adam([x], lr=0.02)
        for _ in range(400):
            optimizer.zero_grad()
            task = (x.sum(0) - wanted).square().mean()
            (task + weight * SparsityLoss()(make_output(states_CNB=x), wanted)).backward()
            optimizer.step()
        assert float((x.sum(0) - wanted).detach().square().mean()) < 0.2
        return x.detach()

    def active(x: Tensor) -> float:
        return float((x.abs() > 0.1 * x.square().mean().sqrt()).double().mean())

    assert active(train(0.0)) > 0.9
    assert active(train(1.0)) < 0.6
