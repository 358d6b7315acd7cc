"""From settings to a student."""

from __future__ import annotations

import torch

import latticegraph.kernels  # noqa: F401  registers the kernels of the built-in experts
from latticegraph.aggregation import Backend, Cells, resolve_backend
from latticegraph.config.model import ModelSettings
from latticegraph.dynamics import Dynamics, Identity, Lattice3D, Wire
from latticegraph.errors import ConfigError
from latticegraph.lattice import LatticeGraph, check_reach, check_stopping
from latticegraph.model.extractor import LatticeToEmbeddingExtractor
from latticegraph.model.mapper import EmbeddingToLatticeMapper
from latticegraph.model.student import Parts, Student
from latticegraph.model.transformer import make_projection
from latticegraph.model.volume_init import VolumeStateInitializer

USUAL_BATCH = 64


def build_student(
    settings: ModelSettings,
    graph: LatticeGraph,
    teacher_dimension: int,
    seed: int = 0,
    backend: Backend | None = None,
    cells: Cells | None = None,
    device: str = "cpu",
) -> Student:
    """An untrained student.

    Args:
        settings: the model section of the configuration.
        graph: the lattice.
        teacher_dimension: D.
        seed: of all parameters; the global random state is left as it was.
        backend: how to sum over neighbours; None: what ``model.aggregation`` means for batches of
            64 samples on a CPU. Any backend gives the same student.
        cells: which cells this process holds; None: all.
        device: ``cpu`` or ``cuda``, for the compiler.

    Raises:
        GraphError: the output face cannot be reached within the configured steps.
        ConfigError: samples may stop before the input has crossed the lattice, a volume surface
            does not have D cells, or a part cannot be made.
    """
    if settings.dynamics.mode == "lattice":
        check_reach(graph.settings, settings.dynamics.steps)
        check_stopping(graph.settings, settings.dynamics)
    cells = Cells(graph) if cells is None else cells
    if backend is None:
        backend = resolve_backend(settings, graph, USUAL_BATCH, "cpu", cells.is_whole)
    width = graph.input_cells.numel() * settings.surface_channels
    is_volume = graph.settings.surface == "volume"
    if is_volume and width != teacher_dimension:
        raise ConfigError(
            "lattice.dimensions",
            f"expected {teacher_dimension} cells for surface 'volume', got {width}",
            "Change lattice.dimensions or the teacher",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + settings.init.seed)
        transformer = settings.transformer
        projection = None if is_volume else make_projection(transformer, teacher_dimension, width)
        mapper = EmbeddingToLatticeMapper(settings, graph, cells)
        channels, gain = settings.state_channels, settings.init.gain
        volume = VolumeStateInitializer(settings.mapper, graph, channels, width, gain, cells)
        dynamics = build_dynamics(settings, graph, backend, cells, device)
        extractor = LatticeToEmbeddingExtractor(settings, graph, teacher_dimension, cells)
    parts = Parts(projection, mapper, volume, dynamics, extractor)
    return Student(settings, teacher_dimension, width, parts)


def build_dynamics(
    settings: ModelSettings,
    graph: LatticeGraph,
    backend: Backend,
    cells: Cells,
    device: str = "cpu",
) -> Dynamics:
    """What ``model.dynamics.mode`` names: the lattice, or one of its controls.

    Args:
        settings: the model section of the configuration.
        graph: the lattice.
        backend: how to sum over neighbours.
        cells: which cells this process holds.
        device: ``cpu`` or ``cuda``, for the compiler.
    """
    names = [expert.name for expert in settings.experts]
    channels = settings.state_channels
    if settings.dynamics.mode == "identity":
        return Identity(names, cells, backend, channels)
    if settings.dynamics.mode == "wire":
        return Wire(names, cells, backend, channels, graph)
    return Lattice3D(settings, graph, backend, cells, device)
