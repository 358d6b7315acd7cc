from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from latticegraph.losses import DistillationLoss
from latticegraph.model.output import StudentOutput

MakeOutput = Callable[..., StudentOutput]

ZERO = torch.zeros(4, dtype=torch.float64)


def rows(count: int, seed: int, width: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator, dtype=torch.float64)


def test_distillation_by_hand(make_output: MakeOutput) -> None:
    target, prediction = rows(4, 0), rows(4, 1)
    teacher, own = (normalize(x) @ normalize(x).T / 0.3 for x in (target, prediction))
    missed = chance = 0.0
    for i in range(4):
        others = [j for j in range(4) if j != i]
        p, q = ([math.exp(c[i, j]) for j in others] for c in (teacher, own))
        p, q = [a / sum(p) for a in p], [b / sum(q) for b in q]
        missed += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        chance += sum(a * math.log(a * 3) for a in p)
    loss = DistillationLoss(ZERO, 0.3)(make_output(embedding_BD=prediction), target)
    assert loss.item() == pytest.approx(missed / chance, rel=1e-9)


@pytest.mark.parametrize("temperature", [0.02, 0.2, 2.0])
def test_distillation_anchors_at_every_temperature(make_output, temperature: float) -> None:
    target = rows(12, 0)
    loss = DistillationLoss(ZERO, temperature)
    assert loss(make_output(embedding_BD=target), target).item() == pytest.approx(0, abs=1e-9)
    flat = make_output(embedding_BD=torch.zeros_like(target))
    assert loss(flat, target).item() == pytest.approx(1, rel=1e-6)
    for few in (1, 2):
        prediction = rows(few, 1).requires_grad_()
        nothing = loss(make_output(embedding_BD=prediction), target[:few])
        nothing.backward()
        assert nothing.item() == pytest.approx(0, abs=1e-9)


def test_distillation_temperature_follows_the_progress() -> None:
    loss = DistillationLoss(ZERO, 0.4, 0.1)
    found = []
    for progress in (0.0, 0.5, 1.0):
        loss.set_progress(progress)
        found.append(loss.temperature)
    assert found == pytest.approx([0.4, 0.2, 0.1])


def neighbours(x: Tensor) -> list[int]:
    cosine = normalize(x) @ normalize(x).T
    return cosine.fill_diagonal_(-2).argmax(1).tolist()


def test_distillation_training_finds_the_teachers_neighbours(make_output: MakeOutput) -> None:
    """Free predictions of another width-4 frame: only relations can be learned, and are."""
    target = rows(16, 0)
    prediction = rows(16, 5).requires_grad_()
    optimizer = torch.optim.Adam([prediction], lr=0.03)
    loss = DistillationLoss(ZERO, 0.5, 0.1)

    def agreement() -> int:
        pairs = zip(neighbours(prediction.detach()), neighbours(target), strict=True)
        return sum(a == b for a, b in pairs)

    before = agreement()
    for step in range(150):
        loss.set_progress(step / 150)
        optimizer.zero_grad()
        loss(make_output(embedding_BD=prediction), target).backward()
        optimizer.step()
    assert before <= 5
    assert agreement() >= 15
    # Directions are free: the frame of the predictions is not that of the targets.
    assert float((normalize(prediction) * normalize(target)).sum(1).mean().detach()) < 0.9
