from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from latticegraph.losses import DynamicsLoss
from latticegraph.model.output import StudentOutput

MakeOutput = Callable[..., StudentOutput]

NO_TARGET = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [([0.3, 0.3], 0.0), ([0.0], 1.0), ([0.6], 1 / 9), ([0.15], 1 / 9), ([0.0, 0.3, 0.6], 10 / 27)],
)
def test_dynamics_hand_computed(
    make_output: MakeOutput, changes: list[float], expected: float
) -> None:
    output = make_output(change_T=torch.tensor(changes))
    assert DynamicsLoss(0.3)(output, NO_TARGET).item() == pytest.approx(expected, abs=1e-7)


def test_dynamics_exploding_states_stay_bounded(make_output: MakeOutput) -> None:
    loss = DynamicsLoss(0.3)(make_output(change_T=torch.tensor([1e6])), NO_TARGET).item()
    assert 0.99 < loss <= 1.0


def test_dynamics_gradient_points_to_target(make_output: MakeOutput) -> None:
    change = torch.tensor([0.0, 0.1, 0.9], requires_grad=True)
    DynamicsLoss(0.3)(make_output(change_T=change), NO_TARGET).backward()
    assert change.grad is not None
    assert (change.grad.sign() == torch.tensor([-1.0, -1.0, 1.0])).all()


def test_dynamics_gradcheck(make_output: MakeOutput) -> None:
    change = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
    loss = DynamicsLoss(0.3)
    assert torch.autograd.gradcheck(lambda c: loss(make_output(change_T=c), NO_TARGET), change)
