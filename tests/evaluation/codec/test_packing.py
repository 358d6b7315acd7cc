from __future__ import annotations

import numpy as np
import pytest

from latticegraph.evaluation.codec.packing import pack, unpack


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("numbers", [1, 7, 64])
def test_unpack_returns_what_was_packed_in_as_few_bytes_as_possible(bits, numbers):
    indices = np.random.default_rng(bits).integers(0, 2**bits, (5, numbers)).astype(np.uint8)
    stored = pack(indices, bits)
    assert stored.shape == (5, -(-numbers * bits // 8))
    assert np.array_equal(unpack(stored, bits, numbers), indices)


def test_two_numbers_of_4_bits_are_the_halves_of_a_byte():
    assert pack(np.array([[1, 15]], dtype=np.uint8), 4).tolist() == [[0x1F]]
