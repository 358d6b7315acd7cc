"""Similarity, information and dimension have their closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from latticegraph.analysis.dimension import bias_curve, entropy_rank, participation_ratio
from latticegraph.analysis.mutual_information import (
    components,
    gaussian_information,
    knn_information,
    permuted_information,
)
from latticegraph.analysis.similarity import (
    biased_cka,
    cosine_matrix,
    debiased_cka,
    hsic,
    permuted_cka,
)
from latticegraph.errors import DataError

WIDTH = 8


@pytest.mark.parametrize(
    ("count", "biased"), [(32, 0.198), (64, 0.114), (128, 0.056), (256, 0.029)]
)
def test_only_biased_cka_finds_similarity_in_independent_normals(count, biased):
    random = np.random.default_rng(0)
    found = np.array(
        [
            (biased_cka(x, y), debiased_cka(x, y))
            for x, y in random.normal(size=(200, 2, count, WIDTH))
        ]
    )
    assert found[:, 0].mean() == pytest.approx(biased, rel=0.15)
    assert abs(found[:, 1].mean()) < 3 * found[:, 1].std() / np.sqrt(200) + 1e-3
    assert (found[:, 1] < 0).mean() > 0.3  # reported, not clipped


def test_hsic_is_the_mean_over_quadruples():
    """Song et al.'s U-statistic, written out for 6 samples."""
    random = np.random.default_rng(0)
    k, other = (z @ z.T for z in random.normal(size=(2, 6, 3)))
    total = []
    for i, j, q, r in itertools.permutations(range(6), 4):
        total.append(k[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q]))
    assert hsic(k, other) == pytest.approx(np.mean(total), rel=1e-10)


def test_cka_does_not_see_rotation_scale_and_offset_and_sees_mixing():
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 5)) * [3, 2, 1, 1, 1]
    turn, _ = np.linalg.qr(random.normal(size=(5, 5)))
    for measure in (biased_cka, debiased_cka):
        assert measure(x, 2 * x @ turn + 7) == pytest.approx(1.0, abs=1e-10)
    assert debiased_cka(x, x + random.normal(size=x.shape)) < 0.95
    value, null_P = permuted_cka(x, x @ turn, 99)
    assert value == pytest.approx(1.0)
    assert null_P.max() < 0.3
    assert abs(null_P.mean()) < 0.03


def test_vectors_that_do_not_vary_have_no_similarity():
    with pytest.raises(DataError, match="expected vectors that differ between samples"):
        debiased_cka(np.ones((9, 2)), np.eye(9))


def test_cosines_by_hand():
    x = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    wanted = [[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, -1], [0, 0, -1, 1]]
    np.testing.assert_allclose(cosine_matrix(x + 5), wanted, atol=1e-12)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_information_of_normal_pairs_is_the_closed_form(rho):
    random = np.random.default_rng(0)
    x = random.normal(size=(3000, 1))
    y = rho * x + np.sqrt(1 - rho**2) * random.normal(size=x.shape)
    wanted = -0.5 * np.log2(1 - rho**2)
    assert gaussian_information(x, y) == pytest.approx(wanted, abs=0.03)
    assert knn_information(x, y) == pytest.approx(wanted, abs=0.06)


def test_information_of_several_pairs_adds_up_under_any_invertible_map():
    random = np.random.default_rng(0)
    rho = np.array([0.8, 0.4, 0.0])
    x = random.normal(size=(4000, 3))
    y = rho * x + np.sqrt(1 - rho**2) * random.normal(size=x.shape)
    wanted = float(-0.5 * np.log2(1 - rho**2).sum())
    mixed = y @ random.normal(size=(3, 3))
    assert gaussian_information(x, mixed) == pytest.approx(wanted, abs=0.05)
    assert gaussian_information(x, mixed) == pytest.approx(gaussian_information(x, y), rel=1e-9)


def test_neighbours_see_through_monotone_maps_and_curves_where_correlation_does_not():
    random = np.random.default_rng(0)
    x = random.normal(size=(2000, 1))
    y = 0.8 * x + 0.6 * random.normal(size=x.shape)
    wanted = -0.5 * np.log2(1 - 0.64)
    assert knn_information(np.arcsinh(3 * x), y) == pytest.approx(wanted, abs=0.08)
    curve = x**2 + 0.1 * random.normal(size=x.shape)
    assert knn_information(x, curve) > 1.0
    assert gaussian_information(x, curve) < 0.05


def test_permuted_information_is_the_bias():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 100, 4))
    value, null_P = permuted_information(x, y, 99)
    assert null_P.mean() == pytest.approx(4 * 4 / (2 * 100 * np.log(2)), rel=0.15)
    assert np.quantile(null_P, 0.01) < value < np.quantile(null_P, 0.99)
    _, near_P = permuted_information(x, y, 19, nearest=True)
    assert abs(near_P.mean()) < 0.1
    value, null_P = permuted_information(x, x[:, :2] + 0.5 * y[:, :2], 99)
    assert value > null_P.max()


def test_more_columns_than_samples_are_refused():
    with pytest.raises(DataError, match="expected more samples than columns"):
        gaussian_information(np.eye(6), np.eye(6))


def test_components_are_whitened_and_ordered():
    random = np.random.default_rng(0)
    basis, _ = np.linalg.qr(random.normal(size=(30, 30)))
    source = random.normal(size=(200, 2))
    for x in (source @ (basis[:2] * [[5.0], [1.0]]), (source @ np.diag([5.0, 1.0]))):
        first = components(x, 4)
        assert first.shape == (200, 2)
        np.testing.assert_allclose(first.T @ first / 200, np.eye(2), atol=1e-9)
        assert abs(np.corrcoef(first[:, 0], source[:, 0])[0, 1]) > 0.98


@pytest.mark.parametrize("measure", [participation_ratio, entropy_rank])
def test_dimension_of_equal_directions_is_their_number(measure):
    random = np.random.default_rng(0)
    basis, _ = np.linalg.qr(random.normal(size=(40, 40)))
    x = random.normal(size=(6000, 7)) @ basis[:7]
    assert measure(x) == pytest.approx(7, abs=0.05)
    assert measure(x[:, :1] @ np.ones((1, 5))) == pytest.approx(1)
    x = random.normal(size=(6000, 2)) * [3.0, 1.0]
    wanted = {"participation_ratio": 100 / 82, "entropy_rank": np.exp(0.325083)}
    assert measure(x) == pytest.approx(wanted[measure.__name__], rel=0.02)


def test_dimension_of_few_samples_is_too_small_as_stated():
    x = np.random.default_rng(0).normal(size=(400, 50))
    rows = bias_curve(x, [25, 50, 100, 400])
    for row in rows:
        stated = 1 / (1 / 50 + 1 / row["samples"])
        assert row["participation_ratio"] == pytest.approx(stated, rel=0.05)
    ranks = [row["entropy_rank"] for row in rows]
    assert ranks == sorted(ranks)


def test_states_that_stand_still_have_no_dimension():
    with pytest.raises(DataError, match="expected states of several samples that differ"):
        participation_ratio(np.ones((5, 3)))
