from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from latticegraph.losses import ContrastiveLoss
from latticegraph.model.output import StudentOutput

MakeOutput = Callable[..., StudentOutput]

ZERO = torch.zeros(6, dtype=torch.float64)


def rows(count: int, seed: int, width: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator, dtype=torch.float64)


def test_contrastive_hand_computed(make_output: MakeOutput) -> None:
    # cosines: own 0.6, other 0.8 for the first sample; own 1, other 0 for the second
    output = make_output(embedding_BD=torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    first = math.log(1 + math.exp(0.2 / 0.5))
    second = math.log(1 + math.exp(-1 / 0.5))
    loss = ContrastiveLoss(torch.zeros(2), 0.5)(output, target)
    assert loss.item() == pytest.approx((first + second) / 2 / math.log(2))


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_contrastive_is_that_of_pytorch_metric_learning(make_output, temperature) -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    target, prediction = rows(12, 0), rows(12, 1).requires_grad_()
    mine = ContrastiveLoss(ZERO, temperature)(make_output(embedding_BD=prediction), target)
    labels = torch.arange(12), torch.arange(12)  # one tensor for both would mean one view
    loss = losses.NTXentLoss(temperature=temperature)
    wanted = loss(prediction, labels[0], None, target, labels[1])
    torch.testing.assert_close(mine * math.log(12), wanted, rtol=1e-9, atol=0)
    own, theirs = (torch.autograd.grad(loss, prediction)[0] for loss in (mine, wanted))
    torch.testing.assert_close(own * math.log(12), theirs, rtol=1e-7, atol=1e-10)


def test_contrastive_weights_near_negatives_as_robinson_does(make_output: MakeOutput) -> None:
    target, prediction = rows(5, 0), rows(5, 1)
    logit = normalize(prediction) @ normalize(target).T / 0.3
    wanted = 0.0
    for i in range(5):
        others = torch.stack([logit[i, j] for j in range(5) if j != i]).exp()
        importance = others**0.7
        reweighted = (importance * others).sum() / importance.mean()
        own = logit[i, i].exp()
        wanted += -float((own / (own + reweighted)).log()) / 5 / math.log(5)
    loss = ContrastiveLoss(ZERO, 0.3, 0.7)(make_output(embedding_BD=prediction), target)
    assert loss.item() == pytest.approx(wanted, rel=1e-9)
    assert loss > ContrastiveLoss(ZERO, 0.3)(make_output(embedding_BD=prediction), target)


def test_contrastive_of_the_mean_predictor_is_one(make_output: MakeOutput) -> None:
    target = rows(9, 0)
    flat = make_output(embedding_BD=torch.zeros_like(target))
    assert ContrastiveLoss(ZERO)(flat, target).item() == pytest.approx(1)


def test_contrastive_doubles_are_no_negatives(make_output: MakeOutput) -> None:
    # The first and the last target are the same: each of them has one negative, the other has two.
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    output = make_output(embedding_BD=torch.eye(2)[[0, 1, 0]])
    outer = math.log(1 + math.exp(-2)) / math.log(2)
    inner = math.log(1 + 2 * math.exp(-2)) / math.log(3)
    loss = ContrastiveLoss(torch.zeros(2), 0.5)(output, target)
    assert loss.item() == pytest.approx((2 * outer + inner) / 3)


@pytest.mark.parametrize("count", [1, 3])
def test_contrastive_without_negatives_is_zero(make_output: MakeOutput, count: int) -> None:
    prediction = rows(count, 1).requires_grad_()
    loss = ContrastiveLoss(ZERO)(make_output(embedding_BD=prediction), rows(1, 0).expand(count, 6))
    loss.backward()
    assert loss.item() == 0
    assert not prediction.grad.any()


def test_contrastive_training_retrieves_targets(make_output: MakeOutput) -> None:
    """Free predictions, started all alike; without the loss nothing could tell them apart."""
    target = rows(24, 0)
    prediction = (0.1 * rows(1, 2)).repeat(24, 1).requires_grad_()
    optimizer = torch.optim.Adam([prediction], lr=0.05)

    def recall() -> float:
        near = (normalize(prediction) @ normalize(target).T).argmax(1)
        return float((near == torch.arange(24)).double().mean())

    before = recall()
    for _ in range(60):
        optimizer.zero_grad()
        ContrastiveLoss(ZERO)(make_output(embedding_BD=prediction), target).backward()
        optimizer.step()
    assert before < 0.1
    assert recall() == 1.0
