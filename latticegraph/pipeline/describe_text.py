"""The description of a lattice as a table for the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from latticegraph.config import LatticeSettings
from latticegraph.lattice import EdgeType


def description_table(settings: LatticeSettings, description: Mapping[str, Any]) -> Table:
    """Radius, edges, degrees and reach by type; cells, crossing and memory below.

    Args:
        settings: the lattice.
        description: made by :func:`~latticegraph.pipeline.describe_run.describe`.
    """
    sides = " x ".join(str(side) for side in settings.dimensions)
    memory = description["memory"]
    table = Table(
        title=f"{sides}: {description['cells']:,} cells, max_radius {description['max_radius']:g}",
        caption=f"{_crossing(description)}. Memory: edges {memory['edges_gb']:.3g} GB, "
        f"CSR {memory['csr_gb']:.3g} GB, one state of a batch {memory['state_gb']:.3g} GB."
        f"{_rollout(description)}",
        caption_justify="left",
    )
    for column in ("edge type", "radius", "edges", "degree min", "mean", "max", "reach"):
        table.add_column(column, justify="left" if column == "edge type" else "right")
    for edge_type in EdgeType:
        name = edge_type.label
        degree = description["degrees"][name]
        table.add_row(
            name,
            f"{description['thresholds'][name]:g}",
            f"{description['edges'][name]:,}",
            f"{degree['min']:,}",
            f"{degree['mean']:.2f}",
            f"{degree['max']:,}",
            str(description["reach"][name]),
        )
    table.add_row("self", "0", f"{description['edges']['self']:,}", "", "", "", "0")
    return table


def _crossing(description: Mapping[str, Any]) -> str:
    steps = description["crossing_steps"]
    if steps is None:
        return "No signal crosses from front to back"
    return f"A signal needs {steps} step(s) from front to back"


def _rollout(description: Mapping[str, Any]) -> str:
    rollout = description.get("rollout")
    if rollout is None:
        return ""
    return f" Forward and backward pass with {rollout['aggregation']}: {rollout['text']}."
