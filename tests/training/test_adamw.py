"""AdamW moves parameters exactly as the class of torch does."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latticegraph.training.adamw import AdamW

BETAS = (0.9, 0.99)


def parameters() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape)) for shape in ((4, 3), (5,), (2, 2))]


def groups(moved: list[nn.Parameter]) -> list[dict[str, object]]:
    return [
        {"params": moved[:1], "weight_decay": 0.3},
        {"params": moved[1:], "weight_decay": 0.0},
    ]


def test_updates_are_those_of_torch_bit_for_bit() -> None:
    mine, theirs = parameters(), parameters()
    own = AdamW(groups(mine), BETAS)
    other = torch.optim.AdamW(groups(theirs), lr=0.0, betas=BETAS)
    generator = torch.Generator().manual_seed(1)
    for update in range(6):
        for optimizer in (own, other):
            for number, group in enumerate(optimizer.param_groups):
                group["lr"] = 0.01 * (update + 1) / (number + 1)
        for index, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            gradient = torch.randn(a.shape, generator=generator)
            # The last one is frozen for a while, and has no moments before its first gradient.
            a.grad = b.grad = None if index == 2 and update in (0, 3) else gradient
        before = mine[2].detach().clone()
        own.step()
        other.step()
        for a, b in zip(mine, theirs, strict=True):
            assert torch.equal(a, b)
        assert torch.equal(before, mine[2]) == (update in (0, 3))
    for a, b in zip(mine, theirs, strict=True):
        state: dict[str, Tensor] = other.state[b]
        assert own.state[a].keys() == state.keys()
        assert all(torch.equal(own.state[a][name], value) for name, value in state.items())


def test_gradients_are_dropped() -> None:
    moved = parameters()
    optimizer = AdamW(groups(moved), BETAS)
    moved[0].grad = torch.ones(4, 3)
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in moved)
