"""GatingNetwork: shares, top-k, temperature, and its two losses by hand."""

from __future__ import annotations

import math

import pytest
import torch

from latticegraph.config.model import GatingSettings
from latticegraph.dynamics.gating import balance
from latticegraph.model import GatingNetwork


def network(logits: list[float], **settings: object) -> GatingNetwork:
    """A gate whose logits do not depend on the state."""
    gate = GatingNetwork(2, len(logits), GatingSettings.model_validate(settings)).double()
    with torch.no_grad():
        gate.logits.weight.zero_()
        gate.logits.bias.copy_(torch.tensor(logits))  # type: ignore[union-attr]
    return gate


def test_gating_shares_sum_to_one_for_every_cell() -> None:
    gate = GatingNetwork(2, 3, GatingSettings()).double()
    share = gate(torch.randn(2, 20, dtype=torch.float64)).share_XM
    assert share.shape == (3, 20)
    torch.testing.assert_close(share.sum(0), torch.ones(20, dtype=torch.float64))
    assert float(share.std(dim=1).detach().min()) > 0


def test_gating_temperature_divides_the_logits() -> None:
    x = torch.zeros(2, 1, dtype=torch.float64)
    share = network([1.0, 0.0, 0.0], temperature=0.5)(x).share_XM[:, 0]
    assert float(share[0].detach()) == pytest.approx(math.exp(2) / (math.exp(2) + 2))


def test_gating_top_k_keeps_the_largest() -> None:
    x = torch.zeros(2, 1, dtype=torch.float64)
    share = network([3.0, 1.0, 2.0], top_k=2)(x).share_XM[:, 0]
    e = math.e
    expected = torch.tensor([e / (1 + e), 0.0, 1 / (1 + e)], dtype=torch.float64)
    torch.testing.assert_close(share, expected)


def test_gating_balance_and_z_by_hand() -> None:
    x = torch.zeros(2, 6, dtype=torch.float64)
    even = network([0.0, 0.0, 0.0], z_weight=0.1)(x)
    single = network([50.0, 0.0, 0.0], z_weight=0.1)(x)
    shares = [gate.share_XM.detach() for gate in (even, single)]
    assert float(balance(shares[0])) == pytest.approx(0.0, abs=1e-12)
    assert float(balance(shares[1])) == pytest.approx(2.0)
    assert even.z_M.tolist() == pytest.approx([math.log(3) ** 2] * 6)
    assert single.z_M.tolist() == pytest.approx([2500.0] * 6)


def test_gating_prefer_moves_one_expert_ahead() -> None:
    gate = network([0.0, 0.0, 0.0])
    gate.prefer(1, 2.0)
    share = gate(torch.zeros(2, 1, dtype=torch.float64)).share_XM[:, 0]
    assert float(share[1].detach()) == pytest.approx(math.exp(2) / (math.exp(2) + 2))


def test_gating_z_is_zero_where_it_has_no_weight() -> None:
    gate = network([50.0, 0.0, 0.0])(torch.zeros(2, 4, dtype=torch.float64))
    assert gate.z_M.tolist() == [0.0] * 4


@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_gating_starts_with_small_logits(gain: float) -> None:
    """States of variance 1 give logits of standard deviation 0.2 times the gain."""
    gate = GatingNetwork(512, 64, GatingSettings(), gain).double()
    logits_XM = gate.logits(torch.randn(512, 256, dtype=torch.float64))
    assert float(logits_XM.detach().std()) == pytest.approx(0.2 * gain, rel=0.05)
