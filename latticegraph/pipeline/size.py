"""What a configuration needs at least, counted before anything of its size is made."""

from __future__ import annotations

import math
from itertools import pairwise

import torch

from latticegraph.aggregation.memory import GIB
from latticegraph.config import Config
from latticegraph.lattice import count_edges
from latticegraph.pipeline.header import COPIES_OF_PARAMETERS, check_memory

# int64: coordinates, numbers and depth, and the coordinates once more while surfaces are found.
BYTES_PER_CELL = 8 * (3 + 1 + 1 + 3)


def check_size(config: Config, device: torch.device) -> None:
    """Refuse a lattice or a model that the machine has no room for, before it is built.

    Args:
        config: the sections lattice, model and teacher apply.
        device: where the student computes.

    Raises:
        ConfigError: naming what is needed and what there is.
    """
    cells = math.prod(config.lattice.dimensions)
    copies = COPIES_OF_PARAMETERS * 4 * least_parameters(config)
    check_memory((BYTES_PER_CELL * cells + copies) / GIB, device)


def least_parameters(config: Config) -> int:
    """Parameters that grow with the surface, the cells, the edges or the embedding.

    The student has more: biases, experts whose weights all cells share, and whatever a class
    outside the package adds.

    Args:
        config: the sections lattice, model and teacher apply.
    """
    settings, width = config.model, config.teacher.dimension
    cells, face = math.prod(config.lattice.dimensions), surface_size(config)
    channels, own = settings.state_channels, settings.surface_channels
    count, mapper = 0, settings.mapper
    sources = face * own if mapper.lift == "dense" else own
    count += (channels - own) * face * sources
    if mapper.readout == "states":
        count += channels * face * width
    if mapper.volume_init == "learned":
        count += channels * (cells - face)
    if mapper.positional == "learned":
        count += channels * face
    if config.lattice.surface != "volume":
        count += 2 * _one_way(config, face * own)
    if settings.dynamics.mode == "lattice":
        by_cell = sum(expert.kind == "cell" for expert in settings.experts)
        count += by_cell * cells * channels * (2 * channels + 1)
        count += _own_edges(config)
    return count


def _own_edges(config: Config) -> int:
    """Weights of edges that share none, of all experts."""
    shared = [expert.message_options(config.model.messages) for expert in config.model.experts]
    if all(options["weights"] != "edge" for options in shared):
        return 0
    edges, count = count_edges(config.lattice), 0
    for expert, options in zip(config.model.experts, shared, strict=True):
        own = sum(edges[kind] for kind in expert.edges)
        own += edges["self"] if "local" in expert.edges else 0
        count += own * options["heads"] if options["weights"] == "edge" else 0
    return count


def surface_size(config: Config) -> int:
    """Cells of the input surface."""
    sides = config.lattice.dimensions
    cells = math.prod(sides)
    if config.lattice.surface == "volume":
        return cells
    if config.lattice.surface == "all_faces":
        return cells - math.prod(max(side - 2, 0) for side in sides)
    return cells // sides[config.lattice.axis]


def _one_way(config: Config, surface: int) -> int:
    """Matrices of the projection from the embedding to the surface."""
    transformer, width = config.model.transformer, config.teacher.dimension
    if transformer.kind not in ("linear", "autoencoder", "hierarchical"):
        return 0
    levels = transformer.levels if transformer.kind == "hierarchical" else ()
    hidden = 0 if transformer.kind == "linear" else transformer.hidden
    return sum(
        before * after + hidden * (before + after)
        for before, after in pairwise([width, *levels, surface])
    )
