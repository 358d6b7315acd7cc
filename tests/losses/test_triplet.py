from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from latticegraph.losses import TripletLoss
from latticegraph.model.output import StudentOutput

MakeOutput = Callable[..., StudentOutput]

ZERO = torch.zeros(4, dtype=torch.float64)


def rows(count: int, seed: int, width: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator, dtype=torch.float64)


def test_triplet_hand_computed(make_output: MakeOutput) -> None:
    # Distances from the first prediction (1, 0): sqrt 2 to its own target, 0 and 2 to the others.
    prediction = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    target = torch.tensor([[0.0, 3.0], [2.0, 0.0], [-1.0, 0.0]])
    output = make_output(embedding_BD=prediction)
    root = 2**0.5
    first = root - 0 + 0.2
    assert TripletLoss(torch.zeros(2), 0.2)(output, target).item() == pytest.approx(first / 0.2 / 3)
    # Beyond the own target the nearest is 2 away, farther than the margin.
    semihard = TripletLoss(torch.zeros(2), 0.2, "semihard")
    assert semihard(output, target).item() == 0
    wide = TripletLoss(torch.zeros(2), 1.0, "semihard")
    assert wide(output, target).item() == pytest.approx((root - 2 + 1) / 3)


@pytest.mark.parametrize("kind", ["hard", "semihard"])
def test_triplet_is_that_of_pytorch_metric_learning(make_output: MakeOutput, kind: str) -> None:
    pytest.importorskip("pytorch_metric_learning")
    from pytorch_metric_learning import losses, miners, reducers

    target = rows(20, 0)
    prediction = (target + 0.7 * rows(20, 1)).requires_grad_()
    index, same = torch.arange(20), torch.arange(20)  # one tensor for both would mean one view
    if kind == "hard":
        triplets = miners.BatchHardMiner()(prediction, index, target, same)
    else:
        found = miners.TripletMarginMiner(0.4, "semihard")(prediction, index, target, same)
        # Of the semihard negatives of a sample the nearest.
        away = (normalize(prediction.detach())[found[0]] - normalize(target)[found[2]]).norm(dim=1)
        best = [
            min((float(away[k]), k) for k in range(len(away)) if found[0][k] == a)[1]
            for a in found[0].unique()
        ]
        triplets = tuple(part[best] for part in found)
        assert 3 < len(best) < 20
    wanted = losses.TripletMarginLoss(margin=0.4, reducer=reducers.SumReducer())(
        prediction, index, triplets, target, same
    )
    mine = TripletLoss(ZERO, 0.4, kind)(make_output(embedding_BD=prediction), target)
    torch.testing.assert_close(mine * 0.4 * 20, wanted, rtol=1e-6, atol=1e-9)
    own, theirs = (torch.autograd.grad(loss, prediction)[0] for loss in (mine, wanted))
    torch.testing.assert_close(own * 0.4 * 20, theirs, rtol=1e-5, atol=1e-7)


def test_triplet_anchors(make_output: MakeOutput) -> None:
    target = rows(8, 0)
    flat = make_output(embedding_BD=torch.zeros_like(target))
    assert TripletLoss(ZERO, 0.3)(flat, target).item() == pytest.approx(1)
    assert TripletLoss(ZERO, 0.3, "semihard")(flat, target).item() == pytest.approx(1)
    assert TripletLoss(ZERO, 0.1)(make_output(embedding_BD=target), target).item() == 0
    same = target[:1].repeat(3, 1)
    prediction = same.clone().requires_grad_()
    nothing = TripletLoss(ZERO)(make_output(embedding_BD=prediction), same)
    nothing.backward()
    assert nothing.item() == 0
    assert torch.isfinite(prediction.grad).all()


@pytest.mark.parametrize("kind", ["hard", "semihard"])
def test_triplet_training_opens_the_margin(make_output: MakeOutput, kind: str) -> None:
    """Free predictions near their targets, some nearer another one."""
    target = rows(24, 0)
    prediction = (target + 0.5 * rows(24, 3)).requires_grad_()
    optimizer = torch.optim.Adam([prediction], lr=0.02)

    def violated() -> int:
        distance = torch.cdist(normalize(prediction.detach()), normalize(target))
        others = distance.masked_fill(torch.eye(24, dtype=torch.bool), torch.inf)
        gap = others - distance.diagonal()[:, None]
        inside = gap < 0.1 if kind == "hard" else (gap > 0) & (gap < 0.1)
        return int(inside.any(1).sum())

    before = violated()
    for _ in range(100):
        optimizer.zero_grad()
        TripletLoss(ZERO, 0.1, kind)(make_output(embedding_BD=prediction), target).backward()
        optimizer.step()
    assert before >= 4
    assert violated() <= before // 4
