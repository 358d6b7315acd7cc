from __future__ import annotations

import pytest
import torch
from torch import nn

from latticegraph.training.batches import Batch
from latticegraph.training.plan import PlannedUpdate
from latticegraph.training.running_means import RunningMeans
from latticegraph.training.term_gradients import gradient_shares, term_gradient_norms

NAMES = ("local", "functional", "distant")
# Everything that is learned at once, with more than one thing to learn from.
TERMS = {
    "triplet": 0.3,
    "triplet_margin": 1.5,
    "contrastive": 0.2,
    "distillation": 0.4,
    "sparsity": 0.1,
    "prefixes": 0.6,
    "prefix_lengths": [2, 5],
}
POSITIVE = {"diversity": 0.0, "emergence": 0.0, "dynamics": 0.0}


def test_norms_and_shares_by_hand() -> None:
    weight, frozen = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.ones(1), False)
    values = {
        "a": (weight * torch.tensor([3.0, 4.0])).sum(),  # gradient (3, 4)
        "b": weight.square().sum() * 6,  # gradient (12, 24)
        "c": torch.tensor(7.0),
        "d": frozen.sum() * weight[0] * 0.5,
    }
    norms = term_gradient_norms(values, [weight, frozen], scale=8.0)
    assert [float(norm) for norm in norms.values()] == pytest.approx([5, 720**0.5, 0, 0.5])
    assert weight.grad is None
    shares = gradient_shares(norms, {"a": 2.0, "b": 0.0, "c": 1.0, "d": 20.0})
    assert {n: float(share) for n, share in shares.items()} == {"a": 0.5, "b": 0, "c": 0, "d": 0.5}
    nothing = gradient_shares({"a": torch.tensor(0.0)}, {"a": 1.0})
    assert float(nothing["a"]) == 0


def _gradient(trainer, values):
    parameters = trainer.state.optimizer.trained
    grads = torch.autograd.grad(values, parameters, retain_graph=True, allow_unused=True)
    pairs = zip(grads, parameters, strict=True)
    return torch.cat(
        [torch.zeros_like(p).flatten() if g is None else g.flatten() for g, p in pairs]
    )


@pytest.mark.parametrize(
    "model",
    [
        {"kernel": "plain"},
        {"kernel": "fused", "aggregation": "spmm"},
        {"kernel": "fused", "aggregation": "fft"},
        {"max_memory_gb": 1e-4},
    ],
    ids=["plain", "fused spmm", "fused fft", "recomputed"],
)
def test_gradients_of_terms_add_up_to_that_of_the_total(configure, make, pairs, model) -> None:
    """The hand-written gradients of a kernel must survive several backward passes."""
    trainer = make(configure(model=model, losses=TERMS))
    rows = pairs(8, 5).source_ND
    trainer.student.start_from_data(rows, rows)
    objective = trainer.state.objective
    weights = objective.weights_at()
    values = objective.values(trainer.student.train()(rows), rows, weights)
    assert len(values) == 12
    whole = sum(weights[n] * _gradient(trainer, value) for n, value in values.items())
    norms = term_gradient_norms(values, trainer.state.optimizer.trained)
    for name, value in values.items():
        assert float(norms[name]) == pytest.approx(
            float(_gradient(trainer, value).norm()), rel=1e-4
        )
        assert float(norms[name]) > 0, name
    objective.weighting.total(values, weights).total.backward()
    total = torch.cat([p.grad.flatten() for p in trainer.state.optimizer.trained])
    torch.testing.assert_close(total, whole, rtol=1e-3, atol=1e-5)


def test_shares_are_logged_when_due_and_change_nothing(configure, make, records, tensors) -> None:
    phases = [{"name": "main", "updates": 9}]
    runs = {}
    for every in (0, 4):
        training = {"shares_every": every, "phases": phases, "log_every": 2}
        trainer = make(configure(training=training), f"run{every}")
        trainer.fit()
        runs[every] = records(trainer), tensors(trainer)
    without, measured = runs[0], runs[4]
    assert all(torch.equal(without[1][name], measured[1][name]) for name in without[1])
    found = {r["update"]: r["gradient_shares"] for r in measured[0] if "gradient_shares" in r}
    assert set(found) == {4, 8}
    for shares in found.values():
        assert sum(shares.values()) == pytest.approx(1)
        assert shares["reconstruction"] > 0.2
        assert min(shares.values()) > 0
    assert not any("gradient_shares" in row for row in without[0])
    stripped = [{k: v for k, v in r.items() if k != "gradient_shares"} for r in measured[0]]
    assert stripped == without[0]


def test_shares_on_the_console(configure, make) -> None:
    trainer = make(configure(training={"shares_every": 3, "phases": [{"name": "a", "updates": 4}]}))
    trainer.fit()
    shown = trainer.logging._output.file.getvalue()
    line = next(x for x in shown.splitlines() if x.startswith("share of the gradient: "))
    percent = [float(word[:-1]) for word in line.split() if word.endswith("%")]
    assert percent == sorted(percent, reverse=True)
    assert sum(percent) == pytest.approx(100, abs=0.5)


def _stop_after(trainer, update):
    def on_update_end(state):
        state.stop_requested = state.progress.update >= update

    trainer.logging.on_update_end, original = (
        lambda state: (original(state), on_update_end(state)),
        trainer.logging.on_update_end,
    )


WEIGHTINGS = {
    "fixed": {},
    "uncertainty": POSITIVE | {"triplet": 0.0, "weighting_rate": 0.05},
    "softmax": POSITIVE | {"triplet": 0.0},
    "gradnorm": {"gradnorm_every": 2, "weighting_rate": 0.05},
}


@pytest.mark.parametrize("kind", WEIGHTINGS)
def test_every_weighting_goes_on_bit_for_bit(configure, make, records, tensors, kind) -> None:
    config = configure(
        losses=TERMS | {"weighting": kind} | WEIGHTINGS[kind],
        training={
            "phases": [{"name": "main", "updates": 12, "learning_rate": 0.005}],
            "batch_size": 4,
            "accumulate": 2,
            "log_every": 5,
            "shares_every": 3,
        },
    )
    straight = make(config, "straight")
    straight.fit()
    stopped = make(config, "stopped")
    _stop_after(stopped, 7)
    assert stopped.fit().updates == 7
    resumed = make(config, "stopped")
    resumed.fit(stopped.state.folder.last)
    one, two = tensors(straight), tensors(resumed)
    assert all(torch.equal(one[name], two[name]) for name in one)
    first = straight.state.objective.weighting.tensors()
    second = resumed.state.objective.weighting.tensors()
    assert bool(first) == (kind in ("uncertainty", "gradnorm"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    rows = [row for row in records(straight) if row["kind"] == "train"]
    again = {row["update"]: row for row in records(resumed) if row["kind"] == "train"}
    assert [again[row["update"]] for row in rows] == rows
    shown = [row["loss_weights"] for row in rows if "loss_weights" in row]
    if kind == "fixed":
        assert shown == []
    else:
        assert shown[0] != shown[-1]
        assert shown[0].keys() == rows[0]["losses"].keys() - {"total"}


def test_gradnorm_gives_every_term_its_weights_share_of_the_gradient(configure, make) -> None:
    """At a rate of all but 0, so that only the factors move."""
    off = dict.fromkeys(("structure", "diversity", "emergence", "dynamics", "spatial"), 0.0)
    config = configure(
        losses=off
        | {"reconstruction": 1.0, "similarity": 1.0, "sparsity": 0.5}
        | {"weighting": "gradnorm", "gradnorm_every": 1, "weighting_rate": 0.02}
        | {"gradnorm_alpha": 0.0},
        training={"phases": [{"name": "main", "updates": 100, "learning_rate": 1e-9}]},
    )
    trainer = make(config)
    weighting = trainer.state.objective.weighting
    found: list[dict[str, float]] = []
    learn = weighting.learn
    weighting.learn = lambda losses, norms: (found.append(norms), learn(losses, norms))
    trainer.fit()
    mean = {name: sum(norms[name] for norms in found[-30:]) for name in found[0]}
    factors = weighting.factors(mean)
    sizes = {name: factors[name] * norm for name, norm in mean.items()}
    assert max(mean.values()) > 1.6 * min(mean.values()), "nothing to equalise"
    assert max(sizes.values()) < 1.15 * min(sizes.values())


def test_progress_reaches_the_terms_before_every_update(configure, make, pairs) -> None:
    config = configure(
        losses={"distillation": 0.5, "distillation_start": 0.4, "distillation_end": 0.1}
    )
    trainer = make(config)
    rows = pairs(8, 5).source_ND
    trainer.student.start_from_data(rows, rows)
    means = RunningMeans(NAMES, 3)
    planned = PlannedUpdate(1, 0, 0, 1e-3, progress=0.5)
    trainer.updater.update([Batch(rows, rows)], planned, means, measure=False)
    assert trainer.state.objective.terms["distillation"].temperature == pytest.approx(0.2)
    plan = trainer.state.plan
    assert [plan.at(k).progress for k in (0, 5)] == [0.0, 0.5]
    assert plan.total == 10
