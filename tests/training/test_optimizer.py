from __future__ import annotations

import pytest
import torch

from latticegraph.training.optimizer import (
    StudentOptimizer,
    gradient_norm,
    projection_matrices,
)


def _fill(student, value=0.0):
    """A gradient of ``value`` everywhere, so that only decay moves a weight at 0."""
    for parameter in student.parameters():
        parameter.grad = torch.full_like(parameter, value) if parameter.requires_grad else None


def test_decay_acts_on_matrices_and_not_on_vectors(configure, build):
    config = configure(training={"weight_decay": 0.5})
    student = build(config)
    optimizer = StudentOptimizer(student, config.training)
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    _fill(student)
    optimizer.step(0.1, torch.amp.GradScaler("cpu", enabled=False))
    for name, parameter in student.named_parameters():
        factor = 0.95 if parameter.ndim > 1 else 1.0
        assert torch.allclose(parameter, before[name] * factor), name


@pytest.mark.parametrize("mapper", [{}, {"lift": "cell", "positional": "sinusoidal"}])
@pytest.mark.parametrize("kind", ["linear", "autoencoder"])
def test_projection_decay_acts_on_its_matrices_and_the_other_on_the_rest(
    configure, build, kind, mapper
):
    model = {"transformer": {"kind": kind, "hidden": 8, "layer_norm": True}, "mapper": mapper}
    decays = {"weight_decay": 0.5, "projection_weight_decay": 2.0}
    config = configure(model=model, training=decays)
    student = build(config)
    optimizer = StudentOptimizer(student, config.training)
    for parameter in student.parameters():
        torch.nn.init.ones_(parameter)  # a tensor of zeros would show no decay
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    _fill(student)
    optimizer.step(0.1, torch.amp.GradScaler("cpu", enabled=False))
    projections = {"mapper.lift", "extractor.correction.weight"}
    projections |= {n for n, p in before.items() if n.startswith("transformer.") and p.ndim == 2}
    assert {"mapper.position.weight", "volume.state", *projections} <= before.keys()
    assert len(projections) == (4 if kind == "linear" else 8)
    for name, parameter in student.named_parameters():
        factor = 0.8 if name in projections else 0.95 if parameter.ndim > 1 else 1.0
        assert torch.allclose(parameter, before[name] * factor), name


def test_betas_are_those_of_the_settings(configure, build):
    """After gradients 1 and 0: first moment b1 (1 - b1), second b2 (1 - b2), both corrected."""
    config = configure(training={"betas": [0.6, 0.8], "weight_decay": 0.0, "expert_lr_scale": 1.0})
    student = build(config)
    optimizer = StudentOptimizer(student, config.training)
    _fill(student, 1.0)
    optimizer.step(0.1, torch.amp.GradScaler("cpu", enabled=False))
    before = student.extractor.gain.detach().clone()
    _fill(student, 0.0)
    optimizer.step(0.1, torch.amp.GradScaler("cpu", enabled=False))
    moved = before - student.extractor.gain.detach()
    wanted = 0.1 * (0.6 * 0.4 / (1 - 0.6**2)) / (0.8 * 0.2 / (1 - 0.8**2)) ** 0.5
    torch.testing.assert_close(moved, torch.full_like(moved, wanted))


def test_first_step_moves_each_part_by_its_own_rate(configure, build):
    scales = {"expert_lr_scale": 3.0, "projection_lr_scale": 0.5, "weight_decay": 0.0}
    kinds = ("local", "functional", "distant")
    experts = [{"name": kind, "kind": kind, "edges": [kind]} for kind in kinds]
    experts[1]["lr_scale"] = 0.5
    config = configure(training=scales, model={"experts": experts})
    student = build(config)
    optimizer = StudentOptimizer(student, config.training)
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    _fill(student, 2.0)
    optimizer.step(0.01, torch.amp.GradScaler("cpu", enabled=False))
    for name, parameter in student.named_parameters():
        # The first AdamW step is the rate times the sign of the gradient.
        wanted = 0.03 if name.startswith("dynamics.") else 0.005
        wanted *= 0.5 if name.startswith("dynamics.experts.functional.") else 1.0
        moved = before[name] - parameter
        assert torch.allclose(moved, torch.full_like(moved, wanted), atol=1e-5), name


@pytest.mark.parametrize("part", ["experts", "projections"])
def test_select_freezes_the_other_part_even_against_decay(configure, build, part):
    config = configure(training={"weight_decay": 0.5})
    student = build(config)
    optimizer = StudentOptimizer(student, config.training)
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    _fill(student, 1.0)
    optimizer.select(part)
    optimizer.clear()
    _fill(student, 1.0)
    optimizer.step(0.1, torch.amp.GradScaler("cpu", enabled=False))
    for name, parameter in student.named_parameters():
        trained = name.startswith("dynamics.") == (part == "experts")
        assert parameter.requires_grad == trained
        assert torch.equal(parameter, before[name]) != trained, name
    optimizer.select("all")
    assert len(optimizer.trained) == len(before)


def test_restored_moments_continue_exactly(configure, build):
    config = configure()
    students = [build(config), build(config)]
    first, second = (StudentOptimizer(student, config.training) for student in students)
    for value in (1.0, -0.3):
        _fill(students[0], value)
        first.step(0.1, torch.amp.GradScaler("cpu", enabled=False))
    students[1].load_state_dict(students[0].state_dict())
    second.restore(first.tensors())
    for student, optimizer in zip(students, (first, second), strict=True):
        _fill(student, 0.7)
        optimizer.step(0.1, torch.amp.GradScaler("cpu", enabled=False))
    for one, two in zip(*(student.parameters() for student in students), strict=True):
        assert torch.equal(one, two)
    assert first.tensors().keys() == second.tensors().keys()


def test_components_cover_every_parameter_once(configure, build):
    student = build(configure())
    listed = [id(p) for part in student.components().values() for p in part.parameters()]
    assert sorted(listed) == sorted(id(p) for p in student.parameters())


def test_gradient_norm_is_that_of_all_gradients_together():
    one, two = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))
    assert gradient_norm([one, two]) is None
    one.grad, two.grad = torch.tensor([2.0, 3.0]), torch.tensor([6.0])
    assert float(gradient_norm([one, two])) == 7


def test_projection_matrices_are_listed_once(configure, build):
    matrices = projection_matrices(build(configure(model={"transformer": {"kind": "autoencoder"}})))
    assert len(matrices) == len({id(matrix) for matrix in matrices}) > 0
