"""Which cases are measured together: all ways to do the same work on one cube."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from baselines import conv3d, pyg_edge, rgcn
from cases import (
    Case,
    Problem,
    make_lattice,
    own_aggregation,
    read_config,
    step_case,
    train_case,
)
from floor import aggregation_floor, step_floor
from memory import Size

from latticegraph.aggregation import BACKENDS
from latticegraph.aggregation.aggregation import resolve_backend
from latticegraph.config import Config, ModelSettings
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Lattice3D

# Of the sum alone.
CHANNELS, HEADS = 32, 4


@dataclass(frozen=True)
class Group:
    """Cases that do the same work.

    Attributes:
        what: the work.
        cube: side.
        size: what memory depends on.
        makers: how to build each case, by the name of its row.
    """

    what: str
    cube: int
    size: Size
    makers: dict[str, Callable[[], Case]]


def aggregation_group(cube: int, batch: int, device: torch.device, quick: bool) -> Group:
    """One sum over all types of edges at once."""
    graph = LatticeGraph.build(read_config(cube).lattice)
    problem = Problem.random(graph, CHANNELS, HEADS, batch, device)
    makers: dict[str, Callable[[], Case]] = {
        name: partial(own_aggregation, problem, name) for name in BACKENDS
    }
    others = {"pyg_edge": pyg_edge, "rgcn": rgcn, "conv3d": conv3d, "floor": aggregation_floor}
    makers |= {name: partial(make, problem) for name, make in others.items()}
    size = Size(graph.num_cells, graph.num_edges, batch, CHANNELS, HEADS)
    return Group("aggregation", cube, size, makers)


def step_group(cube: int, batch: int, device: torch.device, quick: bool) -> Group:
    """One step of the lattice."""
    config = read_config(cube)
    graph = LatticeGraph.build(config.lattice)
    built: dict[str, Lattice3D] = {}

    def make(backend: str) -> Case:
        own = read_config(cube, f"model.aggregation={backend}")
        built[backend] = make_lattice(own, graph, batch, device)
        return step_case(built[backend], batch)

    makers: dict[str, Callable[[], Case]] = {name: partial(make, name) for name in BACKENDS}
    makers |= _floors(lambda: next(iter(built.values())), batch, 1)
    return Group("step", cube, _size(config, graph, batch, 1), makers)


def train_group(cube: int, batch: int, device: torch.device, quick: bool) -> Group:
    """One update of a student, with the backend that ``auto`` chooses."""
    config = read_config(cube, "model.aggregation=auto", f"training.batch_size={max(2, batch)}")
    graph = LatticeGraph.build(config.lattice)
    backend = resolve_backend(config.model, graph, batch, device.type)
    chosen = f"model.aggregation={backend}"
    settings = read_config(cube, chosen)
    makers: dict[str, Callable[[], Case]] = {
        backend: partial(train_case, settings, graph, batch, device)
    }
    if "compile" in ModelSettings.model_fields and not quick:
        compiled = read_config(cube, chosen, "model.compile=true")
        name = f"{backend}+compile"
        makers[name] = partial(train_case, compiled, graph, batch, device, "+compile")
    steps = config.model.dynamics.steps
    size = _size(config, graph, batch, steps)
    makers |= _floors(lambda: make_lattice(settings, graph, batch, device), batch, steps)
    return Group("train_step", cube, size, makers)


def _size(config: Config, graph: LatticeGraph, batch: int, steps: int) -> Size:
    model = config.model
    heads, channels = model.messages.heads, model.state_channels
    return Size(graph.num_cells, graph.num_edges, batch, channels, heads, steps)


def _floors(
    lattice: Callable[[], Lattice3D], batch: int, steps: int
) -> dict[str, Callable[[], Case]]:
    """With the sums over neighbours where ``lattice`` has sparse ones, and without."""
    return {
        "floor": lambda: step_floor(lattice(), batch, steps, True, "floor"),
        "floor_dense": lambda: step_floor(lattice(), batch, steps, False, "floor_dense"),
    }


BUILDERS: dict[str, Callable[[int, int, torch.device, bool], Group]] = {
    "aggregation": aggregation_group,
    "step": step_group,
    "train_step": train_group,
}
