"""Codecs at the bytes that they say."""

from __future__ import annotations

import numpy as np
import pytest

from latticegraph.errors import ConfigError
from latticegraph.evaluation import MlpAutoencoder, PcaBaseline
from latticegraph.evaluation.codec import (
    Codec,
    NotMeasured,
    OneBitCodec,
    OpqCodec,
    RandomProjectionCodec,
    fixed_rate,
    product_quantisation,
    sizes_of,
    stored,
)
from latticegraph.evaluation.codec.product_quantisation import balanced_order


def through(codec, rows):
    return codec.decompress(codec.compress(rows))


def explained(codec, rows):
    return 1 - np.square(through(codec, rows) - rows).sum() / np.square(rows).sum()


@pytest.fixture(scope="module")
def gaussian():
    """Training and held-out rows with a spectrum that falls, about zero."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(3000, 96)) / np.sqrt(np.arange(1, 97))
    return rows[:2000], rows[2000:]


def test_64_numbers_take_256_64_and_32_bytes(gaussian):
    train, held = gaussian
    pca = PcaBaseline(64)
    pca.fit(train, train)
    rows = list(stored(pca, train))
    assert [row.form for row in rows] == ["64 x float32", "64 x int8", "64 x 4 bit"]
    assert sizes_of(64) == (256, 64, 32)
    for row, size in zip(rows, sizes_of(64), strict=True):
        code = row.compress(held)
        assert code.dtype == np.uint8
        assert code.shape == (len(held), size)
    assert through(rows[0], held) == pytest.approx(pca.predict(held), abs=1e-5)
    kept = [explained(row, held) for row in rows]
    assert kept[0] - kept[1] < 0.001
    assert 0.002 < kept[1] - kept[2] < 0.02


def test_any_baseline_with_both_methods_is_a_codec(gaussian):
    train, held = gaussian
    mlp = MlpAutoencoder(8, hidden=4, epochs=1)
    mlp.fit(train, train)
    assert isinstance(mlp, Codec)
    assert isinstance(PcaBaseline(8), Codec)
    assert mlp.encode(held).shape == (1000, 8)
    assert mlp.decode(mlp.encode(held)) == pytest.approx(mlp.predict(held))


def test_random_projection_is_below_pca_and_exact_at_full_width(gaussian):
    train, held = gaussian
    small, full, pca = RandomProjectionCodec(16), RandomProjectionCodec(96), PcaBaseline(16)
    for codec in (small, full, pca):
        codec.fit(train, train)
    rows = [next(iter(stored(codec, train))) for codec in (small, pca, full)]
    kept = [explained(row, held) for row in rows]
    assert kept[0] < kept[1] < kept[2]
    assert kept[2] == pytest.approx(1, abs=1e-9)


def test_one_bit_keeps_two_over_pi_of_a_gaussian():
    rows = np.random.default_rng(0).normal(size=(4000, 64)) + 3
    codec = OneBitCodec(64)
    codec.fit(rows[:3000])
    held = rows[3000:]
    assert codec.compress(held).shape == (1000, 8)
    error = np.square(through(codec, held) - held).mean()
    assert 1 - error == pytest.approx(2 / np.pi, abs=0.01)


def test_one_bit_takes_no_more_bits_than_dimensions_and_drops_the_least_variance(gaussian):
    train, held = gaussian
    codecs = list(fixed_rate(("one_bit",), True, 8, train, 0))
    assert [codec.form for codec in codecs] == ["96 x 1 bit", "64 x 1 bit", "32 x 1 bit"]
    assert [codec.compress(held).shape[1] for codec in codecs] == [12, 8, 4]
    kept = [explained(codec, held) for codec in codecs]
    share = np.cumsum(1 / np.arange(1, 97))
    for codec, value in zip(codecs, kept, strict=True):
        # Signs of R components keep 0.637 of the variance that R components hold.
        assert value == pytest.approx(2 / np.pi * share[codec.bits - 1] / share[-1], abs=0.04)


def test_opq_of_as_many_vectors_as_centroids_is_exact():
    pytest.importorskip("faiss")
    points = np.random.default_rng(0).normal(size=(16, 12))
    codec = OpqCodec(1)
    codec.fit(points)
    assert codec.form == "1 x 4 bit"
    assert through(codec, points) == pytest.approx(points, abs=1e-5)


def test_opq_fits_its_budget_and_beats_one_bit_codes(gaussian):
    pytest.importorskip("faiss")
    train, held = gaussian
    opq = OpqCodec(14)
    opq.fit(train)
    one_bit = OneBitCodec(96)
    one_bit.fit(train)
    assert opq.form == "12 x 8 bit"  # 13 and 14 do not divide 96
    assert opq.compress(held).shape == one_bit.compress(held).shape == (1000, 12)
    assert explained(opq, held) > explained(one_bit, held) + 0.05


def test_balanced_order_deals_out_all_components_in_even_products():
    variance = np.random.default_rng(0).exponential(size=64)
    order = balanced_order(variance, 8)
    assert sorted(order) == list(range(64))
    logs = np.log(variance)[order].reshape(8, 8).sum(axis=1)
    plain = np.log(np.sort(variance)).reshape(8, 8).sum(axis=1)
    assert np.ptp(logs) < 0.25 * np.ptp(plain)


def test_missing_faiss_is_an_error_where_opq_was_asked_for_and_a_row_where_not(
    gaussian, monkeypatch
):
    monkeypatch.setattr(product_quantisation.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"--codec: expected faiss .* 'latticegraph\[codec\]'"):
        list(fixed_rate(("opq",), True, 8, gaussian[0], 0))
    (row,) = fixed_rate(("opq",), False, 8, gaussian[0], 0)
    assert isinstance(row, NotMeasured)
    assert "latticegraph[codec]" in row.reason
