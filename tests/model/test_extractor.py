"""The readout: what is read, and its closed-form start."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from latticegraph.lattice import LatticeGraph
from latticegraph.model import LatticeToEmbeddingExtractor, Student
from tests.model.conftest import embeddings, small_lattice, small_model

Build = Callable[..., Student]


def extractor() -> LatticeToEmbeddingExtractor:
    graph = LatticeGraph.build(small_lattice())
    return LatticeToEmbeddingExtractor(small_model(), graph, 6).double()


def test_correction_recovers_a_linear_rule_exactly_enough() -> None:
    """80 features, 400 samples, no noise: the smallest penalty wins and the rule comes back."""
    readout = extractor()
    features = torch.randn(400, 80, dtype=torch.float64)
    rule = torch.randn(6, 80, dtype=torch.float64)
    assert readout.fit_correction(features, features @ rule.T) == 1e-4
    assert readout.correction is not None
    torch.testing.assert_close(readout.correction.weight, rule, rtol=0, atol=5e-3)


def test_correction_of_pure_noise_is_shrunk_to_almost_nothing() -> None:
    readout = extractor()
    features, noise = torch.randn(2, 160, 80, dtype=torch.float64)
    assert readout.fit_correction(features, noise[:, :6]) == 10.0
    assert readout.correction is not None
    assert float(readout.correction.weight.detach().abs().max()) < 0.05


def test_correction_minimises_the_penalised_error_by_normal_equations() -> None:
    readout = extractor()
    features = torch.randn(50, 80, dtype=torch.float64)
    target = torch.randn(50, 6, dtype=torch.float64)
    penalty = readout.fit_correction(features, target)
    assert readout.correction is not None
    weight = readout.correction.weight.detach()
    gradient = (features @ weight.T - target).T @ features + penalty * 50 * weight
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-8)


def test_standardise_keeps_constant_features_finite() -> None:
    readout = extractor()
    raw = torch.randn(30, 80, dtype=torch.float64) * 3 + 5
    raw[:, 7] = 2.0
    standard = readout.standardise(raw)
    assert not bool(standard[:, 7].any())
    torch.testing.assert_close(standard[:, 0].std(correction=0), torch.tensor(1.0).double())


@pytest.mark.parametrize("readout_init", ["ridge", "zeros"])
def test_start_from_data_twice_is_start_from_data_once(build: Build, readout_init: str) -> None:
    student = build({"mapper": {"readout_init": readout_init}})
    data = embeddings(64)
    once = student(data).embedding_BD
    student.start_from_data(data, data)
    torch.testing.assert_close(student(data).embedding_BD, once, rtol=0, atol=1e-9)


def test_ridge_start_explains_more_than_the_surface_alone(build: Build) -> None:
    """The start is fitted to the states of the untrained lattice, and helps on unseen samples."""
    errors = []
    for readout_init in ("zeros", "ridge"):
        student = build({"mapper": {"readout_init": readout_init}}, started=False)
        train, unseen = embeddings(2048)[:1800], embeddings(2048)[1800:]
        student.start_from_data(train, train)
        errors.append(float((student(unseen).embedding_BD - unseen).square().sum().detach()))
    assert errors[1] < 0.8 * errors[0]
