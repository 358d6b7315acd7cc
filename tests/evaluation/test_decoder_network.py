"""The decoder network: its size, what it learns, and that validation chooses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from latticegraph.evaluation import DecoderNetwork, PcaBaseline
from latticegraph.evaluation.decoder_network import RECIPES, CodeAndDecoder

Floats = NDArray[np.float64]


def score(prediction: Floats, target: Floats) -> float:
    return float(1 - np.square(target - prediction).sum() / np.square(target - 0.5).sum())


@pytest.mark.parametrize("wanted", [100, 500, 5000])
def test_size_is_that_of_the_student_up_to_one_unit(curved: Floats, wanted: int) -> None:
    network = DecoderNetwork(2, wanted, updates=20)
    network.fit(curved[:400], curved[:400], (curved[400:500], curved[400:500]))
    per_unit = 2 + 1 + 8
    assert abs(network.parameters - wanted) <= per_unit / 2
    model = network.network
    assert isinstance(model, CodeAndDecoder)
    assert model.encode.out_features == 2


def test_smaller_student_leaves_one_unit(curved: Floats) -> None:
    network = DecoderNetwork(2, 10, updates=20)
    network.fit(curved[:400], curved[:400], (curved[400:500], curved[400:500]))
    assert network.network.hidden.out_features == 1


def test_beats_pca_on_a_curved_sheet_and_equals_it_on_a_flat_one(curved: Floats) -> None:
    def scores(data: Floats) -> tuple[float, float]:
        train, validation, held = data[:400], data[400:500], data[500:]
        network, pca = DecoderNetwork(2, 2000), PcaBaseline(2)
        network.fit(train, train, (validation, validation))
        pca.fit(train, train)
        return score(network.predict(held), held), score(pca.predict(held), held)

    own, linear = scores(curved)
    assert own > linear + 0.15
    random = np.random.default_rng(0)
    flat = random.normal(size=(600, 2)) @ random.normal(size=(2, 8)) + 0.5
    own, linear = scores(flat)
    assert linear == pytest.approx(1)
    assert own > 0.99


def test_validation_never_gets_worse_than_at_the_start() -> None:
    """Targets independent of sources: whatever is learned is noise."""
    random = np.random.default_rng(0)
    source, target = random.normal(size=(2, 200, 6))
    held = random.normal(size=(2, 2000, 6))
    network, start = DecoderNetwork(3, 3000), PcaBaseline(3)
    network.fit(source, target, (held[0], held[1]))
    start.fit(source, target)
    errors = [float(np.square(one.predict(held[0]) - held[1]).sum()) for one in (network, start)]
    assert errors[0] <= errors[1] * (1 + 1e-6)
    assert network.recipe in RECIPES


def test_same_seed_same_predictions(curved: Floats) -> None:
    made = []
    for seed in (0, 0, 1):
        network = DecoderNetwork(2, 500, seed, updates=40)
        network.fit(curved[:400], curved[:400], (curved[400:500], curved[400:500]))
        made.append(network.predict(curved[500:]))
    assert (made[0] == made[1]).all()
    assert (made[0] != made[2]).any()


def test_wider_code_than_the_teacher_is_cut(curved: Floats) -> None:
    network = DecoderNetwork(50, 2000, updates=20)
    network.fit(curved[:400], curved[:400], (curved[400:500], curved[400:500]))
    assert network.network.encode.out_features == 8
