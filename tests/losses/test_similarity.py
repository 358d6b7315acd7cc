from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from latticegraph.losses import SimilarityLoss, StructureLoss
from latticegraph.model.output import StudentOutput

MakeOutput = Callable[..., StudentOutput]

MEAN = torch.tensor([1.0, 1.0])


def test_similarity_hand_computed(make_output: MakeOutput) -> None:
    # about the mean: (3, 4) against (1, 0) has cosine 0.6; (0, 2) against (0, -1) has -1
    output = make_output(embedding_BD=torch.tensor([[4.0, 5.0], [1.0, 3.0]]))
    target = torch.tensor([[2.0, 1.0], [1.0, 0.0]])
    assert SimilarityLoss(MEAN)(output, target).item() == pytest.approx(1 - (0.6 - 1) / 2)


def test_similarity_anchors(make_output: MakeOutput) -> None:
    target = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    loss = SimilarityLoss(MEAN)
    assert loss(make_output(embedding_BD=target), target).item() == pytest.approx(0, abs=1e-6)
    assert loss(make_output(embedding_BD=MEAN.expand(20, 2)), target).item() == pytest.approx(1.0)
    opposite = 2 * MEAN - target
    assert loss(make_output(embedding_BD=opposite), target).item() == pytest.approx(2.0)


def test_similarity_gradient_at_mean_is_bounded(make_output: MakeOutput) -> None:
    # floor 0.05 |t|: each row's gradient is 1 / (0.05 * 5) / batch
    prediction = MEAN.repeat(2, 1).requires_grad_()
    target = MEAN + torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    SimilarityLoss(MEAN)(make_output(embedding_BD=prediction), target).backward()
    expected = -torch.tensor([[0.6, 0.8], [0.0, 1.0]]) * 4 / 2
    torch.testing.assert_close(prediction.grad, expected)


def test_similarity_leaves_out_target_at_mean(make_output: MakeOutput) -> None:
    target = torch.stack([MEAN, MEAN + torch.tensor([1.0, 0.0])])
    output = make_output(embedding_BD=MEAN + torch.tensor([[9.0, 9.0], [0.0, 1.0]]))
    assert SimilarityLoss(MEAN)(output, target).item() == 1.0


def test_structure_hand_computed(make_output: MakeOutput) -> None:
    # pairs (01, 02, 12) of centred cosines: teacher 0, 1, 0; prediction 0.6, 0.6, 1
    target = MEAN + torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    output = make_output(embedding_BD=MEAN + torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.6, 0.8]]))
    expected = (0.36 + 0.16 + 1.0) / ((0.36 + 0.36 + 1.0) + 1.0)
    assert StructureLoss(MEAN)(output, target).item() == pytest.approx(expected)


def test_structure_anchors(make_output: MakeOutput) -> None:
    target = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    loss = StructureLoss(MEAN)
    assert loss(make_output(embedding_BD=target), target).item() == pytest.approx(0, abs=1e-10)
    assert loss(make_output(embedding_BD=MEAN.expand(20, 2)), target).item() == pytest.approx(1.0)


def test_structure_collapse_beside_the_mean_stays_near_one(make_output: MakeOutput) -> None:
    target = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    prediction = torch.ones(30, 8) + 1e-3 * target
    loss = StructureLoss(torch.zeros(8))(make_output(embedding_BD=prediction), target)
    assert 0.8 < loss.item() < 1.2


def test_structure_orthogonal_teacher_stays_finite(make_output: MakeOutput) -> None:
    target = MEAN + torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    output = make_output(embedding_BD=MEAN + torch.tensor([[1.0, 0.0], [0.01, 1.0]]))
    # one pair: cosine 0.01 against 0, over the floor of 1e-4
    assert StructureLoss(MEAN)(output, target).item() == pytest.approx(1.0, rel=1e-3)


def test_structure_single_sample_has_no_pairs(make_output: MakeOutput) -> None:
    prediction = torch.ones(1, 2, requires_grad=True)
    loss = StructureLoss(MEAN)(make_output(embedding_BD=prediction), torch.zeros(1, 2))
    loss.backward()
    assert loss.item() == 0.0
    assert prediction.grad is not None
    assert prediction.grad.abs().max() == 0


@pytest.mark.parametrize("kind", [SimilarityLoss, StructureLoss])
def test_similarity_losses_gradcheck(
    make_output: MakeOutput, kind: type[SimilarityLoss] | type[StructureLoss]
) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    prediction = torch.randn(4, 3, dtype=torch.float64, generator=generator).requires_grad_()
    loss = kind(torch.full((3,), 0.3, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda p: loss(make_output(embedding_BD=p), target), prediction)


@pytest.mark.parametrize("kind", [SimilarityLoss, StructureLoss])
def test_similarity_losses_ignore_sample_order(
    make_output: MakeOutput, kind: type[SimilarityLoss] | type[StructureLoss]
) -> None:
    generator = torch.Generator().manual_seed(0)
    target, prediction = torch.randn(2, 6, 2, generator=generator, dtype=torch.float64)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    loss = kind(MEAN.double())
    straight = loss(make_output(embedding_BD=prediction), target)
    shuffled = loss(make_output(embedding_BD=prediction[order]), target[order])
    torch.testing.assert_close(shuffled, straight)
