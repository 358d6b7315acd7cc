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


def test_dynamics_averages_the_samples_that_still_move(make_output: MakeOutput) -> None:
    """Two of four samples stop after the first step, and one after the second."""
    changes_TB = torch.tensor([[0.3, 0.3, 0.3, 0.3], [0.6, 0.6, 0, 0], [0.15, 0, 0, 0]])
    output = make_output(change_T=changes_TB.mean(1), steps_B=torch.tensor([3, 2, 1, 1]))
    expected = (0 + 1 / 9 + 1 / 9) / 3
    assert DynamicsLoss(0.3)(output, NO_TARGET).item() == pytest.approx(expected, abs=1e-7)


def test_dynamics_at_the_target_is_0_whoever_stopped(make_output: MakeOutput) -> None:
    moving_T = torch.tensor([1.0, 0.75, 0.25])
    output = make_output(change_T=0.3 * moving_T, steps_B=torch.tensor([1, 2, 2, 3]))
    assert DynamicsLoss(0.3)(output, NO_TARGET).item() == pytest.approx(0, abs=1e-12)


def test_dynamics_leaves_out_a_step_in_which_nothing_moves(make_output: MakeOutput) -> None:
    steps_B = torch.tensor([1, 2])
    short = make_output(change_T=torch.tensor([0.6, 0.3]), steps_B=steps_B)
    padded = make_output(change_T=torch.tensor([0.6, 0.3, 0.0, 0.0]), steps_B=steps_B)
    loss = DynamicsLoss(0.3)
    assert loss(short, NO_TARGET).item() == pytest.approx((1 / 9 + 1 / 9) / 2)
    assert torch.equal(loss(short, NO_TARGET), loss(padded, NO_TARGET))


def test_dynamics_without_a_step_is_0_with_a_finite_gradient(make_output: MakeOutput) -> None:
    change_T = torch.zeros(1, requires_grad=True)
    loss = DynamicsLoss(0.3)(make_output(change_T=change_T, steps_B=torch.zeros(4)), NO_TARGET)
    loss.backward()
    assert loss.item() == 0
    assert change_T.grad is not None
    assert change_T.grad.item() == 0


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
