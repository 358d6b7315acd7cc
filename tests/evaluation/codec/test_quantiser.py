from __future__ import annotations

import numpy as np
import pytest

from latticegraph.errors import DataError
from latticegraph.evaluation.codec import Quantiser, lloyd_max_quantiser, uniform_quantiser


def error(quantiser: Quantiser, codes_NS):
    """Mean squared error of each number."""
    return np.square(quantiser.values(quantiser.indices(codes_NS)) - codes_NS).mean(axis=0)


# Max (1960), table I: the least mean squared error of a Gaussian of variance 1.
@pytest.mark.parametrize(("bits", "distortion"), [(1, 0.3634), (2, 0.1175), (4, 0.009497)])
def test_lloyd_max_reaches_the_known_distortion_of_a_gaussian(bits, distortion):
    random = np.random.default_rng(0)
    scale = np.array([1.0, 30.0])
    quantiser = lloyd_max_quantiser(random.normal(size=(200_000, 2)) * scale, bits)
    new = random.normal(size=(200_000, 2)) * scale
    assert error(quantiser, new) / scale**2 == pytest.approx(distortion, rel=0.02)


def test_lloyd_max_levels_of_one_bit_are_the_half_means_of_a_gaussian():
    codes = np.random.default_rng(1).normal(size=(200_000, 1))
    wanted = np.sqrt(2 / np.pi)
    assert lloyd_max_quantiser(codes, 1).levels_SL[0] == pytest.approx([-wanted, wanted], abs=0.01)


def test_lloyd_max_is_exact_where_there_are_fewer_values_than_levels():
    codes = np.random.default_rng(2).integers(0, 3, size=(50, 4)).astype(float)
    assert error(lloyd_max_quantiser(codes, 4), codes) == pytest.approx(0, abs=1e-20)


def test_uniform_levels_reach_from_end_to_end_and_clip_beyond():
    codes = np.array([[0.0, 5.0], [255.0, 5.0]])
    quantiser = uniform_quantiser(codes, 8)
    found = quantiser.values(quantiser.indices(np.array([[-9.0, 7.0], [1.4, 5.0], [999.0, 5.0]])))
    assert found.tolist() == [[0.0, 5.0], [1.0, 5.0], [255.0, 5.0]]


def test_indices_are_those_of_the_nearest_level():
    random = np.random.default_rng(3)
    quantiser = Quantiser(np.sort(random.normal(size=(5, 16)), axis=1))
    codes = random.normal(size=(40, 5))
    naive = np.abs(codes[:, :, None] - quantiser.levels_SL).argmin(axis=2)
    assert np.array_equal(quantiser.indices(codes), naive)


def test_errors_say_what_was_expected():
    with pytest.raises(DataError, match=r"levels: expected 2, 4, 8, \.\.\. or 256, got 3"):
        Quantiser(np.zeros((1, 3)))
    with pytest.raises(DataError, match="codes: expected 2 numbers per text, got 3"):
        Quantiser(np.zeros((2, 4))).indices(np.zeros((1, 3)))
