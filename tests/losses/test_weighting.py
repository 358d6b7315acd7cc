from __future__ import annotations

import math

import pytest
import torch

from latticegraph.config import LatticeSettings, LossSettings, PhaseSettings
from latticegraph.config.model import GatingSettings
from latticegraph.errors import ConfigError
from latticegraph.lattice import LatticeGraph
from latticegraph.losses import (
    FixedWeighting,
    GradNormWeighting,
    SoftmaxWeighting,
    UncertaintyWeighting,
    build_objective,
)


def scalars(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def test_fixed_total_is_the_weighted_sum() -> None:
    found = FixedWeighting().total(scalars(a=2.0, b=3.0), {"a": 0.5, "b": 2.0})
    assert float(found.total) == 7.0
    assert found.weights == {"a": 0.5, "b": 2.0}
    assert FixedWeighting().tensors() == {}


def test_softmax_factors_by_hand_and_without_a_gradient() -> None:
    values = {n: v.requires_grad_() for n, v in scalars(a=1.0, b=0.25).items()}
    found = SoftmaxWeighting(2.0).total(values, {"a": 3.0, "b": 1.0})
    share = math.exp(0.5) / (math.exp(0.5) + math.exp(2.0))
    wanted = {"a": 3 * 2 * share, "b": 2 * (1 - share)}
    assert {n: float(w) for n, w in found.weights.items()} == pytest.approx(wanted, rel=1e-6)
    found.total.backward()
    assert float(values["a"].grad) == pytest.approx(wanted["a"], rel=1e-6)
    assert float(values["b"].grad) == pytest.approx(wanted["b"], rel=1e-6)


def test_softmax_of_equal_losses_and_at_a_high_temperature_is_fixed() -> None:
    same = SoftmaxWeighting(0.1).factors(scalars(a=0.3, b=0.3, c=0.3))
    assert [float(f) for f in same.values()] == pytest.approx([1, 1, 1])
    hot = SoftmaxWeighting(1e6).factors(scalars(a=0.1, b=0.9))
    assert [float(f) for f in hot.values()] == pytest.approx([1, 1], abs=1e-4)
    zero = SoftmaxWeighting(1.0).factors(scalars(a=0.0, b=0.9))
    assert [float(f) for f in zero.values()] == [2, 0]


def test_uncertainty_learns_with_the_model_as_one_optimiser_of_torchjd_does() -> None:
    scalarization = pytest.importorskip("torchjd.scalarization")
    task = torch.tensor([[1.0, 2.0], [-3.0, 0.5]], dtype=torch.float64)

    def losses(x: torch.Tensor) -> torch.Tensor:
        return (task @ x - 1).square() + torch.tensor([0.1, 4.0], dtype=torch.float64)

    theirs = scalarization.UW(2).double()
    with torch.no_grad():
        theirs.log_var.fill_(-0.5)
    other = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    joint = torch.optim.Adam([other, theirs.log_var], lr=0.02)
    own = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    mine, alone = UncertaintyWeighting(0.02), torch.optim.Adam([own], lr=0.02)
    for _ in range(40):
        joint.zero_grad()
        wanted = theirs(losses(other))
        wanted.backward()
        joint.step()
        alone.zero_grad()
        values = dict(zip("ab", losses(own).unbind(), strict=True))
        total = mine.total(values, {"a": 1.0, "b": 1.0}).total
        total.backward()
        alone.step()
        mine.learn({name: float(v.detach()) for name, v in values.items()}, {})
        torch.testing.assert_close(total, wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(own, other, rtol=1e-7, atol=1e-9)
    found = torch.tensor([mine.logs["a"], mine.logs["b"]], dtype=torch.float64)
    torch.testing.assert_close(found, theirs.log_var.detach(), rtol=1e-7, atol=1e-9)


def test_uncertainty_comes_to_rest_where_every_term_counts_by_its_relative_change() -> None:
    weighting = UncertaintyWeighting(0.01)
    assert weighting.factors(scalars(a=1.0))["a"] == pytest.approx(0.5 * math.exp(0.5))
    for _ in range(3000):
        weighting.learn({"a": 0.05, "b": 20.0}, {})
    factors = weighting.factors(scalars(a=0.05, b=20.0))
    assert factors["a"] == pytest.approx(0.5 / 0.05, rel=0.02)
    assert factors["b"] == pytest.approx(0.5 / 20.0, rel=0.02)


def reference_gradient(logits, norms, losses, first, alpha):
    """The gradient of the objective of GradNorm by automatic differentiation."""
    s = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    factors = len(logits) * s.softmax(0)
    sizes = factors * torch.tensor(norms, dtype=torch.float64)
    ratio = torch.tensor(losses, dtype=torch.float64) / torch.tensor(first, dtype=torch.float64)
    wanted = (sizes.mean() * (ratio / ratio.mean()) ** alpha).detach()
    return torch.autograd.grad((sizes - wanted).abs().sum(), s)[0]


def test_gradnorm_follows_its_objective_by_automatic_differentiation(monkeypatch) -> None:
    weighting = GradNormWeighting("mapper", 0.1, 1.5, 1)
    names = ("a", "b", "c")
    given: list[dict[str, float]] = []
    step = weighting.logits.step
    monkeypatch.setattr(weighting.logits, "step", lambda g: (given.append(dict(g)), step(g)))
    first, losses = [1.0, 2.0, 0.5], [0.9, 0.4, 0.45]
    weighting.learn(dict(zip(names, first, strict=True)), dict.fromkeys(names, 1.0))
    for norms in ([1.0, 5.0, 0.2], [2.0, 0.3, 0.7]):
        before = [weighting.logits[n] for n in names]
        weighting.learn(dict(zip(names, losses, strict=True)), dict(zip(names, norms, strict=True)))
        wanted = reference_gradient(before, norms, losses, first, 1.5)
        assert list(given[-1].values()) == pytest.approx(wanted.tolist(), rel=1e-9)
    factors = weighting.factors(dict.fromkeys(names, torch.tensor(0.0)))
    assert sum(factors.values()) == pytest.approx(3)


def test_gradnorm_equalises_gradients_and_favours_what_trains_slowly() -> None:
    norms = {"a": 1.0, "b": 30.0}

    def at_rest(alpha: float, losses: dict[str, float]) -> float:
        weighting = GradNormWeighting("mapper", 0.01, alpha, 1)
        weighting.learn({"a": 1.0, "b": 1.0}, norms)
        for _ in range(1500):
            weighting.learn(losses, norms)
        factors = weighting.factors(scalars(a=0.0, b=0.0))
        return factors["a"] * norms["a"] / (factors["b"] * norms["b"])

    assert at_rest(0.0, {"a": 0.9, "b": 0.1}) == pytest.approx(1, rel=0.05)
    assert at_rest(1.0, {"a": 0.9, "b": 0.3}) == pytest.approx(3, rel=0.1)


def test_gradnorm_measures_every_few_updates_and_leaves_terms_without_gradient_alone() -> None:
    weighting = GradNormWeighting("mapper", 0.1, 1.5, 4)
    assert [n for n in range(1, 10) if weighting.measured(n)] == [1, 5, 9]
    assert weighting.measured(5) == "mapper"
    weighting.learn({"a": 1.0, "b": 1.0}, {})
    assert weighting.tensors() == {}
    weighting.learn({"a": 1.0, "b": 0.0, "c": 1.0}, {"a": 1.0, "b": 0.0, "c": 3.0})
    assert weighting.logits["b"] == 0
    assert weighting.references == {"a": 1.0, "b": 1e-3, "c": 1.0}
    assert weighting.logits["a"] > 0 > weighting.logits["c"]


@pytest.mark.parametrize(
    "make", [lambda: UncertaintyWeighting(0.01), lambda: GradNormWeighting("mapper", 0.01, 1.5, 1)]
)
def test_learned_weights_go_on_exactly_from_their_tensors(make) -> None:
    straight, stopped, resumed = make(), make(), make()
    inputs = [({"a": 1.0 / k, "b.c": 0.3}, {"a": k, "b.c": 0.7}) for k in range(1, 9)]
    for losses, norms in inputs:
        straight.learn(losses, norms)
    for losses, norms in inputs[:5]:
        stopped.learn(losses, norms)
    resumed.restore(stopped.tensors())
    for losses, norms in inputs[5:]:
        resumed.learn(losses, norms)
    one, two = straight.tensors(), resumed.tensors()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert straight.factors(scalars(a=1.0)) == resumed.factors(scalars(a=1.0))


def build(phases=(), student=None, **settings):
    graph = LatticeGraph.build(LatticeSettings(dimensions=(3, 3, 3), adaptive_radius_min=1.6))
    losses = LossSettings(**settings)
    mean = torch.zeros(2)
    return build_objective(
        losses, GatingSettings(), mean, 0.5, graph, phases=phases, student=student
    )


OFF = {"diversity": 0.0, "emergence": 0.0, "dynamics": 0.0}


@pytest.mark.parametrize("kind", ["uncertainty", "softmax"])
def test_terms_that_can_become_zero_are_refused_together(kind: str) -> None:
    wanted = (
        r"^losses\.weighting: expected only terms that stay above 0 .*, got weights above 0 for "
        r"diversity, emergence, dynamics\. Set the weight of diversity, emergence, dynamics to 0"
    )
    with pytest.raises(ConfigError, match=wanted):
        build(weighting=kind)
    assert build(weighting=kind, **OFF).weighting.needs_positive


class Components:
    """As much of a student as is looked at."""

    transformer = None

    def components(self):
        return {"mapper": None, "gates": None}


def test_gradnorm_needs_a_layer_that_every_phase_trains() -> None:
    with pytest.raises(ConfigError, match=r"^losses\.gradnorm_layer: .*\(mapper, gates\), got 'x'"):
        build(weighting="gradnorm", gradnorm_layer="x", student=Components())
    phases = [
        PhaseSettings(name="a", updates=3),
        PhaseSettings(name="b", updates=3, train="experts"),
    ]
    with pytest.raises(ConfigError, match=r"^training\.phases\.1\.train: expected all with losses"):
        build(phases, Components(), weighting="gradnorm")
    assert build(phases[:1], Components(), weighting="gradnorm").weighting.layer == "mapper"


def test_prefixes_without_a_projection_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^losses\.prefixes: expected 0 where no projection"):
        build(prefixes=0.5, student=Components())
