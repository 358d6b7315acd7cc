"""The readout: what is read, and its closed-form start."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sklearn.linear_model import Ridge

from latticegraph.lattice import LatticeGraph
from latticegraph.model import LatticeToEmbeddingExtractor, Student
from latticegraph.model.extractor import LEAST, PENALTIES
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


def test_penalty_is_the_best_of_the_list_on_every_eighth_sample() -> None:
    """Against scikit-learn, from hardly any noise to hardly anything else."""
    readout = extractor()
    features, noise = torch.randn(2, 240, 80, dtype=torch.float64)
    clean = features @ torch.randn(80, 6, dtype=torch.float64)
    checked = torch.arange(240) % 8 == 0
    chosen = set()
    for level in torch.logspace(-1, 3, 60).tolist():
        residual = clean + level * noise[:, :6]
        errors = []
        for penalty in PENALTIES:
            fitted = Ridge(penalty * 210, fit_intercept=False)
            fitted.fit(features[~checked], residual[~checked])
            missed = fitted.predict(features[checked]) - residual[checked].numpy()
            errors.append(float((missed**2).sum()))
        best = PENALTIES[errors.index(min(errors))]
        assert readout.fit_correction(features, residual) == best
        chosen.add(best)
    assert len(chosen) >= 3


def test_standardise_keeps_constant_features_finite() -> None:
    readout = extractor()
    raw = torch.randn(30, 80, dtype=torch.float64) * 3 + 5
    raw[:, 7] = 2.0
    standard = readout.standardise(raw)
    assert not bool(standard[:, 7].any())
    torch.testing.assert_close(standard[:, 0].std(correction=0), torch.tensor(1.0).double())


def test_no_deviation_counts_as_less_than_a_share_of_the_others() -> None:
    readout = extractor()
    raw = torch.randn(4000, 80, dtype=torch.float64)
    raw[:, 5] *= 1e-3  # the input hardly reaches it
    raw[:, 6] *= 0.5  # weak, but above the floor
    deviation_F = raw.std(0, correction=0)
    standard = readout.standardise(raw)
    floor = (LEAST * deviation_F.square().mean()).sqrt()
    assert float(deviation_F[6]) > float(floor) > 100 * float(deviation_F[5])
    expected_F = deviation_F.clone()
    expected_F[5] = floor
    torch.testing.assert_close(readout.feature_std_F, expected_F)
    torch.testing.assert_close(standard, (raw - raw.mean(0)) / expected_F)


def test_no_gain_grows_beyond_what_the_power_of_the_others_allows() -> None:
    readout = extractor()
    raw = torch.randn(4000, 20, dtype=torch.float64)
    raw[:, 3] *= 1e-4
    wanted = torch.randn(4000, 20, dtype=torch.float64) + raw / raw.std(0)
    readout.calibrate(raw, wanted)
    centred, target = raw - raw.mean(0), wanted - wanted.mean(0)
    power_S, joint_S = centred.square().sum(0), (centred * target).sum(0)
    exact_S = joint_S / power_S
    gain_S = readout.gain.detach()
    others = [index for index in range(20) if index != 3]
    torch.testing.assert_close(gain_S[others], exact_S[others])
    torch.testing.assert_close(gain_S[3], joint_S[3] / (LEAST * power_S.mean()))
    assert abs(float(gain_S[3])) < 1 < 1000 < abs(float(exact_S[3]))
    offset_S = wanted.mean(0) - gain_S * raw.mean(0)
    torch.testing.assert_close(readout.offset.detach(), offset_S)


def test_numbers_that_all_stand_still_keep_gain_1() -> None:
    readout = extractor()
    readout.calibrate(torch.full((9, 20), 2.0).double(), torch.randn(9, 20).double())
    assert bool((readout.gain == 1).all())


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
