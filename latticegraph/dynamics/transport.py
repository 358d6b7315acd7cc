"""Transport initialisation: a signal crosses the lattice from the first update on.

With random experts nothing reaches the output face and training sits at the mean predictor. One
neighbour, straight towards the input face, starts at weight 1 and all others near 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from latticegraph.aggregation.aggregation import EdgeSet, weight_rows
from latticegraph.config.model import ModelSettings
from latticegraph.dynamics.expert import Expert
from latticegraph.dynamics.gating import GatingNetwork
from latticegraph.dynamics.offset_table import EdgeTable
from latticegraph.errors import GraphError
from latticegraph.lattice import EdgeType, LatticeGraph

MARGIN = 2.0  # logits by which the carrying expert leads: softmax([2, 0, 0]) = 0.79


def start_transport(
    experts: Sequence[Expert],
    edge_sets: Sequence[EdgeSet],
    gating: GatingNetwork,
    graph: LatticeGraph,
    settings: ModelSettings,
) -> None:
    """Start ``experts`` so that the signal of the input face moves towards the output face.

    Surfaces that are read where they are written need no transport: there an expert over the local
    edges leads, and the state starts by staying what it is. Experts without a method
    ``start_transport`` start as they are.

    Args:
        experts: all experts.
        edge_sets: their edge types.
        gating: made to prefer the expert that carries the signal, the first of several.
        graph: the lattice.
        settings: steps within which the signal has to arrive, and channels of the surface.
    """
    carrying_O = carrying_offsets(graph, settings.dynamics.steps)
    carrier = EdgeType.LOCAL
    if bool(carrying_O.any()):
        shares = torch.zeros(len(EdgeType)).index_add(0, graph.offset_type_O, carrying_O)
        carrier = EdgeType(int(shares.argmax()))
    carriers = [index for index, edges in enumerate(edge_sets) if carrier in edges]
    if carriers:
        gating.prefer(carriers[0], MARGIN)
    for expert, edges in zip(experts, edge_sets, strict=True):
        if not hasattr(expert, "start_transport"):
            continue
        by_edge = isinstance(getattr(expert, "edge_weights", None), EdgeTable)
        mine_O = weight_rows(graph, edges, by_edge).offset_O
        attr_O4 = graph.offset_attr_O4[mine_O]
        if tuple(edges) == (EdgeType.LOCAL,):
            wanted_O = (graph.offsets_O3[mine_O] == 0).all(dim=1).float()
        else:
            wanted_O = carrying_O[mine_O]
        expert.start_transport(
            attr_O4, wanted_O, settings.surface_channels, 1 / graph.settings.max_radius
        )


def carrying_offsets(graph: LatticeGraph, steps: int) -> Tensor:
    """Weight of every offset in the initial transport, (O,); zeros if no signal has to cross.

    The straight offset of g cells towards the front carries all of it, where g is the smallest
    stride that divides the depth and arrives within ``steps``. Without such a stride a shorter and
    a longer one share it, so that their mean arrives in just ``steps``. With a periodic boundary
    strides count modulo the side: the cell before the front face is the back face, so the longest
    stride arrives in one step.

    Args:
        graph: the lattice.
        steps: within which the signal has to arrive.

    Raises:
        GraphError: no one or two strides arrive.
    """
    weight_O = torch.zeros(graph.offsets_O3.shape[0])
    settings = graph.settings
    if settings.surface != "front_back":
        return weight_O
    depth = settings.dimensions[settings.axis] - 1
    along_O = -graph.offsets_O3[:, settings.axis]
    straight_O = (graph.offsets_O3 != 0).sum(dim=1) == (along_O != 0).long()
    if settings.boundary == "periodic":
        along_O = along_O % (depth + 1)
    straight_O = straight_O & (along_O > 0)
    strides = sorted(int(g) for g in along_O[straight_O])
    fitting = [g for g in strides if depth % g == 0 and depth // g <= steps]
    if fitting:
        weight_O[straight_O & (along_O == fitting[0])] = 1.0
        return weight_O
    type_of = {int(g): int(graph.offset_type_O[straight_O & (along_O == g)]) for g in strides}
    below, above = _pair(strides, type_of, depth, steps)
    share = (depth / steps - below) / (above - below)
    weight_O[straight_O & (along_O == below)] = 1 - share
    weight_O[straight_O & (along_O == above)] = share
    return weight_O


def _pair(
    strides: Sequence[int], type_of: Mapping[int, int], depth: int, steps: int
) -> tuple[int, int]:
    """Two strides, a shorter and a longer one than the mean, whose sum over the steps is the depth.

    Closest first, and of one type before two: one expert leads at the start.
    """
    mean = depth / steps
    pairs = [
        (above - below, type_of[below] != type_of[above], below, above)
        for below in strides
        for above in strides
        if below <= mean < above and (depth - below * steps) % (above - below) == 0
    ]
    if not pairs:
        raise GraphError(
            "model.init.init_method",
            f"expected neighbours from which a signal crosses {depth} cells in {steps} steps for "
            f"'transport', got only neighbours {list(strides)} cells away",
            "Raise model.dynamics.steps or the radius, or set model.init.init_method to random",
        )
    pairs.sort(key=lambda pair: (pair[1], pair[0]))
    return pairs[0][2:]
