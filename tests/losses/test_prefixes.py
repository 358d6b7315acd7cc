from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from latticegraph.errors import ConfigError
from latticegraph.losses import PrefixLoss
from latticegraph.model.output import StudentOutput

MakeOutput = Callable[..., StudentOutput]


def rows() -> Tensor:
    """Eight directions of falling variance, rotated."""
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q
    scale = torch.tensor([4.0, 3.0, 2.0, 1.5, 1.0, 0.7, 0.5, 0.3], dtype=torch.float64)
    x = torch.randn(256, 8, generator=generator, dtype=torch.float64) * scale
    return (x - x.mean(0)) @ rotation


def test_prefixes_by_hand(make_output: MakeOutput) -> None:
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    loss = PrefixLoss(lambda code: code @ weight + 1.0, 3, (1, 2), 2.0)
    code, target = torch.tensor([[2.0, 3.0, 9.0]]), torch.tensor([[0.0, 0.0]])
    # From one number (3, 1), from two (3, 4): the third would add 9 and is never seen.
    wanted = ((9 + 1) + (9 + 16)) / 4 / 2.0
    assert loss(make_output(code_BS=code), target).item() == pytest.approx(wanted)


def test_prefixes_of_principal_components_are_what_these_leave_unexplained(make_output) -> None:
    x = rows()
    variances, vectors = torch.linalg.eigh(x.T @ x / len(x))
    axes = vectors.flip(1)
    loss = PrefixLoss(
        lambda code: code @ axes[:, :4].T, 4, (2,), float(x.var(0, correction=0).mean())
    )
    found = loss(make_output(code_BS=x @ axes[:, :4]), x).item()
    assert found == pytest.approx(float(variances[:-2].sum() / variances.sum()), rel=1e-9)


def test_prefix_as_long_as_the_code_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^losses\.prefix_lengths: expected prefixes shorter tha"
    ):
        PrefixLoss(lambda code: code, 8, (4, 8), 1.0)


def test_prefix_training_orders_a_code(make_output: MakeOutput) -> None:
    """A linear autoencoder learns some basis of the best subspace, with the term an ordered one."""
    x = rows()
    variance = float(x.var(0, correction=0).mean())

    def left_by_first(weight: float) -> tuple[float, float]:
        generator = torch.Generator().manual_seed(3)
        down, up = nn.Linear(8, 4, bias=False).double(), nn.Linear(4, 8, bias=False).double()
        with torch.no_grad():
            start = torch.linalg.qr(torch.randn(8, 4, generator=generator, dtype=torch.float64)).Q
            down.weight.copy_(start.T)
            up.weight.copy_(start)
        optimizer = torch.optim.Adam([*down.parameters(), *up.parameters()], lr=0.02)
        term = PrefixLoss(up, 4, (1, 2), variance)
        for _ in range(300):
            optimizer.zero_grad()
            code = down(x)
            whole = (up(code) - x).square().mean() / variance
            (whole + weight * term(make_output(code_BS=code), x)).backward()
            optimizer.step()
        code = down(x).detach()
        first = PrefixLoss(up, 4, (1,), variance)(make_output(code_BS=code), x)
        return float(first.detach()), float(whole.detach())

    variances = torch.linalg.eigvalsh(x.T @ x).flip(0)
    best_one, best_all = (float(variances[k:].sum() / variances.sum()) for k in (1, 4))
    plain, plain_all = left_by_first(0.0)
    ordered, ordered_all = left_by_first(1.0)
    assert plain > best_one + 0.1
    assert ordered < best_one + 0.03
    assert plain_all < best_all + 0.02
    assert ordered_all < best_all + 0.02
