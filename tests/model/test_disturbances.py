"""Dropout before the readout and noise on the surface: in training only, and of the right size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from latticegraph.model import Student
from tests.model.conftest import embeddings, excite

Build = Callable[..., Student]
BOTH = {"mapper": {"readout_dropout": 0.3, "input_noise": 0.2}}


def predict(student: Student, seed: int = 0) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        return student(embeddings(16)).embedding_BD


@pytest.mark.parametrize("mapper", [{"readout_dropout": 0.3}, {"input_noise": 0.2}])
def test_disturbance_acts_in_training_only_and_repeats_with_the_seed(
    build: Build, mapper: dict[str, float]
) -> None:
    student, plain = build({"mapper": mapper}), build()
    excite(student)
    excite(plain)
    student.eval()
    assert torch.equal(predict(student), predict(plain))
    student.train()
    assert torch.equal(predict(student, 1), predict(student, 1))
    assert not torch.equal(predict(student, 1), predict(student, 2))
    assert not torch.equal(predict(student), predict(plain))


def test_without_disturbance_training_draws_no_random_number(build: Build) -> None:
    student = build().train()
    before = torch.get_rng_state()
    student(embeddings(16))
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_hides_standardised_features_and_leaves_the_surface(build: Build) -> None:
    student = build({"mapper": {"readout_dropout": 0.25}}).train()
    readout = student.extractor
    assert readout.correction is not None
    states = student.eval()(embeddings(64)).states_CNB.detach()
    surface, _ = readout(states)
    seen: list[torch.Tensor] = []
    readout.correction.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    student.train()
    torch.manual_seed(0)
    again, _ = readout(states)
    assert torch.equal(again, surface)
    features = (readout.raw_features(states) - readout.feature_mean_F) / readout.feature_std_F
    hidden = seen[0] == 0
    assert 0.2 < float(hidden.double().mean()) < 0.3
    torch.testing.assert_close(seen[0][~hidden], features[~hidden] / 0.75)


def test_noise_has_its_share_of_the_surface_and_no_gradient_through_its_size(build: Build) -> None:
    mapper = build({"mapper": {"input_noise": 0.1}}).train().mapper
    surface = 5 * torch.randn(2000, 20, dtype=torch.float64)
    surface.requires_grad_()
    torch.manual_seed(0)
    disturbed = mapper.disturbed(surface)
    noise = (disturbed - surface).detach()
    wanted = 0.1 * float(surface.detach().square().mean().sqrt())
    assert float(noise.std()) == pytest.approx(wanted, rel=0.02)
    assert abs(float(noise.mean())) < 0.02 * wanted
    disturbed.sum().backward()
    assert torch.equal(surface.grad, torch.ones_like(surface))
    assert mapper.eval().disturbed(surface) is surface


def test_noise_enters_the_lattice_and_not_the_code(build: Build) -> None:
    student = build({"mapper": {"input_noise": 0.5}})
    clean = student.eval()(embeddings(16))
    torch.manual_seed(0)
    noisy = student.train()(embeddings(16))
    assert torch.equal(noisy.code_BS, clean.code_BS)
    assert not torch.equal(noisy.states_CNB, clean.states_CNB)


def test_start_from_data_is_the_same_in_training_and_out_of_it(build: Build) -> None:
    """The closed-form start sees states without noise and features without holes."""
    data = embeddings(64)
    one, two = build(BOTH, started=False).train(), build(BOTH, started=False).eval()
    for student in (one, two):
        student.start_from_data(data, data)
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name
