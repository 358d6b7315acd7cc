from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from latticegraph.losses import EmergenceLoss
from latticegraph.losses.emergence import usage_information
from latticegraph.model.output import StudentOutput

MakeOutput = Callable[..., StudentOutput]

NO_TARGET = torch.zeros(2, 3)


def test_usage_information_specialised_cells_is_one() -> None:
    assert usage_information(torch.eye(3)).item() == pytest.approx(1.0)


def test_usage_information_alike_cells_is_zero() -> None:
    usage = torch.tensor([[0.7, 0.2, 0.1]]).repeat(5, 1)
    assert usage_information(usage).item() == pytest.approx(0.0, abs=1e-6)


def test_usage_information_hand_computed() -> None:
    # two experts, gates 3/4 : 1/4 and 1/4 : 3/4: 1 bit - H(1/4)
    usage = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert usage_information(usage).item() == pytest.approx(1 - entropy)


def test_emergence_anchors(make_output: MakeOutput) -> None:
    loss = EmergenceLoss(target=0.3)
    alike = make_output(usage_NX=torch.full((4, 3), 1 / 3))
    assert loss(alike, NO_TARGET).item() == pytest.approx(1.0, abs=1e-5)
    assert loss(make_output(usage_NX=torch.eye(3)), NO_TARGET).item() == 0.0


def test_emergence_hand_computed(make_output: MakeOutput) -> None:
    usage = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    information = 1 + (0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    loss = EmergenceLoss(target=0.5)(make_output(usage_NX=usage), NO_TARGET)
    assert loss.item() == pytest.approx((1 - information / 0.5) ** 2)


def test_emergence_slope_in_information_at_zero(make_output: MakeOutput) -> None:
    # loss ~ 1 - 2 I / target for small I
    usage = torch.tensor([[0.51, 0.49], [0.49, 0.51]], dtype=torch.float64)
    information = usage_information(usage).item()
    loss = EmergenceLoss(target=0.3)(make_output(usage_NX=usage), NO_TARGET).item()
    assert (1 - loss) / information == pytest.approx(2 / 0.3, rel=1e-3)


def test_emergence_gradient_amplifies_differences(make_output: MakeOutput) -> None:
    logits = torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.1, 0.0]], requires_grad=True)
    EmergenceLoss(0.3)(make_output(usage_NX=logits.softmax(1)), NO_TARGET).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] < 0 < logits.grad[0, 1]


def test_emergence_top_one_gates_keep_finite_gradient(make_output: MakeOutput) -> None:
    usage = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.1, 0.0]], requires_grad=True)
    EmergenceLoss(1.0)(make_output(usage_NX=usage), NO_TARGET).backward()
    assert usage.grad is not None
    assert torch.isfinite(usage.grad).all()


def test_emergence_ignores_cell_numbering(make_output: MakeOutput) -> None:
    usage = torch.rand(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    usage = usage / usage.sum(1, keepdim=True)
    loss = EmergenceLoss(1.0)
    straight = loss(make_output(usage_NX=usage), NO_TARGET)
    relabelled = loss(make_output(usage_NX=usage[[4, 2, 0, 5, 1, 3]]), NO_TARGET)
    torch.testing.assert_close(relabelled, straight)


def test_emergence_gradcheck(make_output: MakeOutput) -> None:
    usage = torch.rand(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    usage = (usage / usage.sum(1, keepdim=True)).requires_grad_()
    loss = EmergenceLoss(1.0)
    assert torch.autograd.gradcheck(lambda u: loss(make_output(usage_NX=u), NO_TARGET), usage)
