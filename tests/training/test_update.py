from __future__ import annotations

import pytest
import torch

from latticegraph.errors import TrainingError
from latticegraph.training.batches import Batch
from latticegraph.training.machine import loss_scaler
from latticegraph.training.plan import PlannedUpdate
from latticegraph.training.running_means import RunningMeans

OTHERS = ("similarity", "structure", "diversity", "emergence", "dynamics", "spatial")
ONLY_RECONSTRUCTION = dict.fromkeys(OTHERS, 0.0)


def _trainer(configure, make, **training):
    trainer = make(configure(losses=ONLY_RECONSTRUCTION, training=training))
    rows = trainer.train.source_ND
    trainer.student.start_from_data(rows, rows)
    return trainer


def _update(trainer, batches, rate=0.01, measure=True):
    means = RunningMeans(("local", "functional", "distant"), 3)
    pairs = (Batch(source, target) for source, target in batches)
    return trainer.updater.update(pairs, PlannedUpdate(1, 0, 0, rate), means, measure=measure)


def _gradients(trainer):
    return {name: p.grad.clone() for name, p in trainer.student.named_parameters()}


def test_accumulated_passes_have_the_gradient_of_one_large_batch(configure, make, pairs):
    whole = _trainer(configure, make, batch_size=12, clip_norm=1e9)
    parts = _trainer(configure, make, batch_size=4, accumulate=3, clip_norm=1e9)
    rows = pairs(12, 5).source_ND
    _update(whole, [(rows, rows)])
    _update(parts, [(part, part) for part in rows.split(4)])
    one, two = _gradients(whole), _gradients(parts)
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-6)


def test_gradient_is_clipped_to_the_norm_after_it_was_measured(configure, make, pairs):
    trainer = _trainer(configure, make, clip_norm=0.001)
    rows = pairs(8, 5).source_ND
    norms = _update(trainer, [(rows, rows)])
    clipped = torch.stack([g.square().sum() for g in _gradients(trainer).values()]).sum().sqrt()
    assert float(clipped) == pytest.approx(0.001, rel=1e-3)
    assert float(norms["transformer"]) > 0.001
    assert _update(trainer, [(rows, rows)], measure=False) == {}


def test_update_is_adamw_with_the_given_rate(configure, make, pairs):
    trainer = _trainer(configure, make, weight_decay=0.0, clip_norm=1e9)
    before = {n: p.detach().clone() for n, p in trainer.student.named_parameters()}
    rows = pairs(8, 5).source_ND
    _update(trainer, [(rows, rows)], rate=0.01)
    for name, gradient in _gradients(trainer).items():
        wanted = before[name] - 0.01 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(dict(trainer.student.named_parameters())[name].data, wanted)


def test_non_finite_gradient_names_its_component_and_moves_nothing(configure, make, pairs):
    trainer = _trainer(configure, make)
    trainer.student.extractor.gain.register_hook(lambda grad: grad * torch.inf)
    before = {n: p.detach().clone() for n, p in trainer.student.named_parameters()}
    rows = pairs(8, 5).source_ND
    with pytest.raises(TrainingError, match=r"but the gradient norm of extractor is (inf|nan)"):
        _update(trainer, [(rows, rows)])
    for name, parameter in trainer.student.named_parameters():
        assert torch.equal(parameter, before[name])
    assert not trainer.state.optimizer.tensors()


def test_non_finite_loss_under_bfloat16_suggests_float32(configure, make, pairs):
    trainer = _trainer(configure, make, precision="bfloat16")
    rows = pairs(8, 5).source_ND
    bad = torch.full_like(rows, torch.nan)
    with pytest.raises(TrainingError, match=r"or set training\.precision to float32"):
        _update(trainer, [(rows, bad)])


def test_float16_overflow_is_left_out_and_halves_the_scale(configure, make, pairs):
    trainer = _trainer(configure, make, precision="float16", average_decay=0.9)
    rows = pairs(8, 5).source_ND
    hook = trainer.student.extractor.gain.register_hook(lambda grad: grad * torch.inf)
    before = {n: p.detach().clone() for n, p in trainer.student.named_parameters()}
    scaler = trainer.state.scaler
    first = scaler.get_scale()
    assert first > 1
    assert _update(trainer, [(rows, rows)]) == {}
    assert (scaler.get_scale(), scaler.state_dict()["_growth_tracker"]) == (first / 2, 0)
    for name, parameter in trainer.student.named_parameters():
        assert torch.equal(parameter, before[name])
    average = trainer.state.optimizer.average
    assert average.tensors() == {}
    hook.remove()
    norms = _update(trainer, [(rows, rows)])
    mean = {name: value.clone() for name, value in average.tensors().items()}
    assert int(mean["updates"]) == 1
    hook = trainer.student.extractor.gain.register_hook(lambda grad: grad * torch.inf)
    assert _update(trainer, [(rows, rows)]) == {}
    assert all(torch.equal(value, mean[name]) for name, value in average.tensors().items())
    hook.remove()
    assert scaler.get_scale() == first / 4
    _update(trainer, [(rows, rows)])
    assert scaler.state_dict()["_growth_tracker"] == 1
    assert float(norms["extractor"]) > 0
    assert not torch.equal(trainer.student.extractor.gain, before["extractor.gain"])


def test_float16_gradients_are_those_of_float32_whatever_the_scale(configure, make, pairs):
    rows = pairs(8, 5).source_ND
    found = {}
    for precision, value in (("float32", 1.0), ("float16", 2.0**10), ("float16", 2.0**14)):
        trainer = _trainer(configure, make, precision=precision, clip_norm=1e9)
        if precision == "float16":
            state = trainer.state.scaler.state_dict() | {"scale": value}
            trainer.state.scaler.load_state_dict(state)
        _update(trainer, [(rows, rows)])
        found[precision, value] = torch.cat([g.flatten() for g in _gradients(trainer).values()])
    exact = found["float32", 1.0]
    for short in (found["float16", 2.0**10], found["float16", 2.0**14]):
        assert float((short - exact).norm() / exact.norm()) < 0.03


def test_loss_scale_doubles_after_500_updates_and_is_unused_in_float32(configure, make, pairs):
    trainer = _trainer(configure, make, precision="float16")
    scaler = trainer.state.scaler
    first = scaler.get_scale()
    scaler.load_state_dict(scaler.state_dict() | {"_growth_tracker": 498})
    rows = pairs(8, 5).source_ND
    _update(trainer, [(rows, rows)])
    assert scaler.get_scale() == first
    _update(trainer, [(rows, rows)])
    assert scaler.get_scale() == 2 * first
    unused = loss_scaler("float32", torch.device("cpu"))
    assert not unused.is_enabled()
    assert unused.get_scale() == 1


def test_float16_that_overflows_at_every_scale_ends_the_run(configure, make, pairs):
    trainer = _trainer(configure, make, precision="float16")
    trainer.student.extractor.gain.register_hook(lambda grad: grad * torch.inf)
    rows = pairs(8, 5).source_ND
    for power in range(13, 0, -1):
        assert _update(trainer, [(rows, rows)]) == {}
        assert trainer.state.scaler.get_scale() == 2.0**power
    with pytest.raises(TrainingError, match=r"the gradient norm of extractor is (inf|nan)"):
        _update(trainer, [(rows, rows)])


def test_float16_gradients_that_are_finite_but_have_no_norm_end_the_run(configure, make, pairs):
    """A smaller scale would not help: nothing overflowed but the sum of squares."""
    trainer = _trainer(configure, make, precision="float16")
    trainer.student.extractor.gain.register_hook(lambda grad: grad * 1e28)
    rows = pairs(8, 5).source_ND
    first = trainer.state.scaler.get_scale()
    with pytest.raises(TrainingError, match=r"the gradient norm of extractor is inf"):
        _update(trainer, [(rows, rows)])
    assert trainer.state.scaler.get_scale() == first
    assert torch.isfinite(trainer.student.extractor.gain.grad).all()
