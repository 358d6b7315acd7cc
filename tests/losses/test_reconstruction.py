from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from latticegraph.errors import DataError
from latticegraph.losses import ReconstructionLoss
from latticegraph.model.output import StudentOutput

MakeOutput = Callable[..., StudentOutput]


def test_reconstruction_hand_computed(make_output: MakeOutput) -> None:
    output = make_output(embedding_BD=torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    target = torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    # squared errors 0, 4, 9, 0: mean 3.25, over a variance of 0.5
    assert ReconstructionLoss(0.5)(output, target).item() == 6.5


def test_reconstruction_mean_predictor_is_one(make_output: MakeOutput) -> None:
    target = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * 3 + 1
    loss = ReconstructionLoss(target.var(0, unbiased=False).mean().item())
    output = make_output(embedding_BD=target.mean(0).expand(50, 6))
    assert loss(output, target).item() == pytest.approx(1.0, abs=1e-6)
    assert loss(make_output(embedding_BD=target), target).item() == 0.0


def test_reconstruction_rejects_constant_teacher() -> None:
    with pytest.raises(DataError, match=r"data\.train: expected teacher .* above 0, got 0\.0"):
        ReconstructionLoss(0.0)


def test_reconstruction_gradcheck(make_output: MakeOutput) -> None:
    target = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    prediction = (target * 0.3 + 0.2).requires_grad_()
    loss = ReconstructionLoss(0.7)
    assert torch.autograd.gradcheck(lambda p: loss(make_output(embedding_BD=p), target), prediction)
