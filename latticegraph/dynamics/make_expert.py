"""From the settings of an expert to the expert."""

from __future__ import annotations

from collections.abc import Sequence

from latticegraph.aggregation import Cells
from latticegraph.aggregation.aggregation import edge_sets, has_own_edges, weight_rows
from latticegraph.config.model import ModelSettings
from latticegraph.dynamics.cell_expert import CellExpert
from latticegraph.dynamics.distant_expert import DistantExpert
from latticegraph.dynamics.expert import Expert
from latticegraph.dynamics.functional_expert import FunctionalExpert
from latticegraph.dynamics.local_expert import LocalExpert
from latticegraph.dynamics.offset_table import EdgeTable
from latticegraph.errors import ConfigError
from latticegraph.lattice import LatticeGraph
from latticegraph.plugins import is_class_path, load_class, make

BUILT_IN: dict[str, type[Expert]] = {
    "local": LocalExpert,
    "functional": FunctionalExpert,
    "distant": DistantExpert,
    "cell": CellExpert,
}


def make_expert(settings: ModelSettings, index: int, graph: LatticeGraph) -> Expert:
    """Expert number ``index`` of ``model.experts``.

    Args:
        settings: of the model.
        index: from 0.
        graph: an expert with weights for every cell or every offset has as many.

    Raises:
        ConfigError: its class cannot be imported, or refuses the options.
    """
    own, key = settings.experts[index], f"model.experts.{index}"
    if is_class_path(own.kind):
        class_ = load_class(own.kind, f"{key}.kind", Expert)  # type: ignore[type-abstract]
    else:
        class_ = BUILT_IN[own.kind]
    shared = own.message_options(settings.messages)
    edges, by_edge = edge_sets(settings)[index], has_own_edges(settings)[index]
    rows = len(weight_rows(graph, edges, by_edge).offset_O)
    shared |= {"gain": settings.init.gain, "offsets": rows}
    if by_edge:
        shared["neighbours"] = len(weight_rows(graph, edges).offset_O)
    if class_.by_cell:
        shared["cells"] = graph.num_cells
    return make(class_, own.options, f"{key}.options", settings.state_channels, shared=shared)


def check_cells(names: Sequence[str], experts: Sequence[Expert], cells: Cells) -> None:
    """Refuse experts with weights for every cell or edge where a process holds a part of them.

    Args:
        names: of the experts.
        experts: in the same order.
        cells: held by this process.

    Raises:
        ConfigError: naming the expert.
    """
    for index, (name, expert) in enumerate(zip(names, experts, strict=True)):
        own_edges = isinstance(expert.edge_weights, EdgeTable)
        if own_edges and not cells.is_whole:
            raise ConfigError(
                f"model.experts.{index}.weights",
                f"expected network or table for run.parallel 'slabs', got 'edge' for '{name}', "
                "whose edges have weights of their own",
                "Choose network or table, or set run.parallel to data",
            )
        if expert.by_cell and not cells.is_whole:
            raise ConfigError(
                f"model.experts.{index}.kind",
                f"expected experts that all cells share for run.parallel 'slabs', got '{name}', "
                "whose cells have weights of their own",
                "Choose another kind, or set run.parallel to data",
            )
