"""EmbeddingTransformer, mapper, extractor, volume initialiser, positional encodings, transport."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from latticegraph.config import LatticeSettings
from latticegraph.config.model import MapperSettings, TransformerSettings
from latticegraph.dynamics.transport import carrying_offsets
from latticegraph.errors import GraphError
from latticegraph.lattice import LatticeGraph
from latticegraph.model import (
    EmbeddingToLatticeMapper,
    EmbeddingTransformer,
    LatticeToEmbeddingExtractor,
    VolumeStateInitializer,
)
from latticegraph.model.positional import fractal_features, sinusoidal_features
from tests.model.conftest import embeddings, small_lattice, small_model


@pytest.mark.parametrize("kind", ["linear", "autoencoder", "hierarchical"])
@pytest.mark.parametrize("width", [5, 12, 30])
def test_transformer_starts_as_the_projection_on_the_directions(kind: str, width: int) -> None:
    settings = TransformerSettings.model_validate({"kind": kind, "levels": (14, 40), "hidden": 6})
    transformer = EmbeddingTransformer(settings, 12, width).double()
    data = embeddings(50, 12)
    directions = torch.linalg.svd(data - data.mean(0)).Vh
    transformer.start_from(directions, 0.5)
    kept = directions[: min(width, 12)]
    back = transformer.decode(transformer.encode(data))
    torch.testing.assert_close(back, data @ kept.T @ kept, rtol=0, atol=1e-10)
    projected = transformer.encode(data)[:, : min(width, 12)]
    torch.testing.assert_close(projected, data @ kept.T / 0.5, rtol=0, atol=1e-10)


def test_transformer_only_linear_kind_is_linear() -> None:
    for kind in ("linear", "autoencoder", "hierarchical"):
        settings = TransformerSettings.model_validate({"kind": kind, "levels": (14,)})
        transformer = EmbeddingTransformer(settings, 12, 5).double()
        for parameter in transformer.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        a, b = embeddings(2, 12)
        surface = transformer.encode(torch.stack([a, b, (a + b) / 2]))
        straight = torch.allclose(surface[2], (surface[0] + surface[1]) / 2, atol=1e-9)
        assert straight == (kind == "linear")


def test_transformer_dropout_acts_in_training_only() -> None:
    settings = TransformerSettings(kind="autoencoder", dropout=0.5)
    transformer = EmbeddingTransformer(settings, 12, 5).double()
    for parameter in transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    data = embeddings(4, 12)
    assert not torch.equal(transformer.encode(data), transformer.encode(data))
    transformer.eval()
    assert torch.equal(transformer.encode(data), transformer.encode(data))


@pytest.mark.parametrize("lift", ["cell", "dense"])
@pytest.mark.parametrize("channels", [1, 2])
def test_mapper_writes_each_number_into_its_own_cell(lift: str, channels: int) -> None:
    graph = LatticeGraph.build(small_lattice())
    settings = small_model(surface_channels=channels, mapper={"lift": lift, "positional": "none"})
    mapper = EmbeddingToLatticeMapper(settings, graph)
    surface = torch.randn(3, 20 * channels)
    states = mapper(surface, torch.zeros(4, 80, 3))
    for cell in range(20):
        for p in range(channels):
            expected = surface[:, cell * channels + p]
            assert torch.equal(states[p, graph.input_cells[cell]], expected)
    assert not bool(states[:, 20:].any())
    moved = mapper(surface + torch.eye(20 * channels)[0], torch.zeros(4, 80, 3)) - states
    touched = int((moved[channels:].abs() > 1e-6).any(dim=(0, 2)).sum())
    assert touched == (1 if lift == "cell" else 20)


def test_extractor_reads_the_back_face_and_calibrates_by_least_squares() -> None:
    graph = LatticeGraph.build(small_lattice())
    extractor = LatticeToEmbeddingExtractor(small_model(), graph, 24).double()
    states = torch.randn(4, 80, 50, dtype=torch.float64)
    raw = extractor.raw_surface(states)
    assert torch.equal(raw, states[0, graph.output_cells].t())
    wanted = 3.0 * raw - 1.0
    extractor.calibrate(raw, wanted)
    surface, correction = extractor(states)
    torch.testing.assert_close(surface, wanted)
    assert correction is not None
    assert not bool(correction.any())


@pytest.mark.parametrize("kind", ["zeros", "learned", "noise", "depth_decay"])
def test_volume_initializer_by_kind(kind: str) -> None:
    graph = LatticeGraph.build(small_lattice())
    settings = MapperSettings.model_validate({"volume_init": kind})
    volume = VolumeStateInitializer(settings, graph, 4, 20)
    a, b = volume(torch.randn(2, 20)).unbind(-1)
    assert not bool(a[:, graph.input_cells].any())
    assert bool(a[:, 20:].any()) == (kind != "zeros")
    assert torch.equal(a, b) == (kind != "depth_decay")
    if kind == "depth_decay":
        ratio = a[:, graph.depth_N == 2] / a[:, graph.depth_N == 1]
        torch.testing.assert_close(ratio, torch.full_like(ratio, 0.5))


def test_positional_features_tell_cells_apart() -> None:
    coordinates = LatticeGraph.build(small_lattice()).coordinates_N3.float()
    for features in (sinusoidal_features(coordinates), fractal_features(coordinates, (4, 4, 5))):
        assert torch.unique(features, dim=0).shape[0] == 80


def test_fractal_features_transfer_between_sizes() -> None:
    """Cells at the same relative position have the same code: 9 cells hold the centres of 3."""
    small = fractal_features(torch.arange(3.0)[:, None].expand(3, 3), (3, 3, 3))
    large = fractal_features(torch.arange(9.0)[:, None].expand(9, 3), (9, 9, 9))
    torch.testing.assert_close(small, large[1::3])


@pytest.mark.parametrize(
    ("lattice", "steps", "stride"),
    [
        ({}, 4, 1),
        ({"dimensions": (5, 4, 4), "adaptive_radius_min": 2.0}, 2, 2),
        ({"dimensions": (8, 3, 3), "adaptive_radius_min": 2.0}, 5, None),
    ],
)
def test_transport_picks_the_smallest_stride_that_arrives(
    lattice: dict[str, Any], steps: int, stride: int | None
) -> None:
    graph = LatticeGraph.build(small_lattice(**lattice))
    weight = carrying_offsets(graph, steps)
    used = graph.offsets_O3[weight > 0]
    if stride is None:
        assert sorted(used.tolist()) == [[-2, 0, 0], [-1, 0, 0]]
        assert float(weight.sum()) == pytest.approx(1.0)
    else:
        assert used.tolist() == [[-stride, 0, 0]]


def test_transport_is_absent_where_the_surface_is_read_where_it_is_written() -> None:
    graph = LatticeGraph.build(small_lattice(surface="all_faces"))
    assert not bool(carrying_offsets(graph, 4).any())
    assert LatticeSettings(surface="volume").surface == "volume"


@pytest.mark.parametrize(
    ("dimensions", "radius", "steps", "offset"),
    [
        # One cell back joins the front face to the back face.
        ((8, 3, 3), 1.5, 4, 1),
        ((8, 3, 3), 1.5, 7, -1),
        # A periodic axis of two cells has one other neighbour, and its shift is positive.
        ((2, 4, 5), 1.6, 1, 1),
        ((2, 4, 5), 1.6, 3, 1),
        ((7, 3, 3), 2.0, 3, -2),
    ],
)
def test_transport_counts_strides_modulo_a_periodic_side(
    dimensions: tuple[int, int, int], radius: float, steps: int, offset: int
) -> None:
    lattice = {"dimensions": dimensions, "adaptive_radius_min": radius, "boundary": "periodic"}
    graph = LatticeGraph.build(LatticeSettings.model_validate(lattice))
    weight_O = carrying_offsets(graph, steps)
    assert graph.offsets_O3[weight_O > 0].tolist() == [[offset, 0, 0]]
    # Following the offsets backwards from the back face ends on the front face in time.
    depth, at, taken = dimensions[0] - 1, dimensions[0] - 1, 0
    while at % (depth + 1):
        at, taken = at + offset, taken + 1
    assert taken <= steps


def test_transport_that_no_neighbours_can_carry_is_an_error() -> None:
    graph = LatticeGraph.build(small_lattice(dimensions=(9, 4, 4)))
    with pytest.raises(
        GraphError, match=r"model\.init\.init_method: expected neighbours from whic"
    ):
        carrying_offsets(graph, 2)


def test_sinusoidal_features_by_hand() -> None:
    """One cell along the first axis: waves of 2, 8, 32 and 128 cells, sines before cosines."""
    (row_F,) = sinusoidal_features(torch.tensor([[1.0, 0.0, 0.0]]))
    angles = [math.pi, math.pi / 4, math.pi / 16, math.pi / 64]
    first = [*map(math.sin, angles), *map(math.cos, angles)]
    expected = [*first, *([0.0] * 4 + [1.0] * 4) * 2]
    torch.testing.assert_close(row_F, torch.tensor(expected), rtol=0, atol=1e-6)


def test_fractal_features_by_hand() -> None:
    """p = 1/8: tri(p 2^k) / 2^k is 1/8 until the wave has a whole period per cell."""
    (row_F,) = fractal_features(torch.zeros(1, 3), (4, 4, 4))
    axis = [0.125, 0.125, 0.125, 0.0, 0.375, 0.25, 0.0625, 0.03125]
    torch.testing.assert_close(row_F, torch.tensor(axis * 3))


@pytest.mark.parametrize(("kind", "spread"), [("noise", 0.03), ("learned", 0.5)])
def test_volume_starts_with_the_spread_that_is_set(kind: str, spread: float) -> None:
    graph = LatticeGraph.build(small_lattice(dimensions=(8, 8, 8)))
    settings = small_model(mapper={"volume_init": kind, "noise_std": 0.03}).mapper
    volume = VolumeStateInitializer(settings, graph, 4, 64)
    assert volume.state.shape == (4, 7 * 64)
    assert float(volume.state.detach().std()) == pytest.approx(spread, rel=0.1)
