from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from latticegraph.losses import DiversityLoss
from latticegraph.model.output import StudentOutput

MakeOutput = Callable[..., StudentOutput]


def test_diversity_hand_computed(make_output: MakeOutput) -> None:
    # pairs (01, 02, 12): teacher 0, -1, 0; prediction 0.6, 0, -0.8 -> excess 0.6, 1, 0
    target = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    prediction = torch.tensor([[1.0, 0.0], [0.6, -0.8], [0.0, 1.0]])
    loss = DiversityLoss()(make_output(embedding_BD=prediction), target)
    assert loss.item() == pytest.approx((0.36 + 1.0) / (1 + 4 + 1))


def test_diversity_anchors(make_output: MakeOutput) -> None:
    target = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    loss = DiversityLoss()
    collapsed = target.mean(0).expand(12, 5)
    assert loss(make_output(embedding_BD=collapsed), target).item() == pytest.approx(1.0, abs=1e-5)
    assert loss(make_output(embedding_BD=target), target).item() == pytest.approx(0, abs=1e-10)


def test_diversity_does_not_punish_spread(make_output: MakeOutput) -> None:
    target = torch.tensor([[1.0, 0.1], [1.0, 0.0]])
    prediction = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    loss = DiversityLoss()(make_output(embedding_BD=prediction), target)
    loss.backward()
    assert loss.item() == 0.0
    assert prediction.grad is not None
    assert prediction.grad.abs().max() == 0


def test_diversity_near_collapse_pushes_apart(make_output: MakeOutput) -> None:
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    prediction = torch.tensor([[1.0, 0.9], [0.9, 1.0]], requires_grad=True)
    loss = DiversityLoss()
    value = loss(make_output(embedding_BD=prediction), target)
    value.backward()
    assert prediction.grad is not None
    moved = (prediction - 0.1 * prediction.grad).detach()
    assert loss(make_output(embedding_BD=moved), target).item() < value.item()


def test_diversity_gradcheck(make_output: MakeOutput) -> None:
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    prediction = torch.randn(4, 3, dtype=torch.float64, generator=generator).requires_grad_()
    loss = DiversityLoss()
    assert loss(make_output(embedding_BD=prediction), target).item() > 0
    assert torch.autograd.gradcheck(lambda p: loss(make_output(embedding_BD=p), target), prediction)
