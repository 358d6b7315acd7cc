"""Checks that every edge type has edges and that the input has time to cross the lattice."""

from __future__ import annotations

import math

from latticegraph.config import LatticeSettings
from latticegraph.config.model import DynamicsSettings
from latticegraph.errors import ConfigError, GraphError
from latticegraph.lattice.counts import count_edges
from latticegraph.lattice.crossing import crossing_steps, reach
from latticegraph.lattice.edge_types import EdgeType

_ADVISED_DISTANCES = 13
_LEAST_RATIO = 1e-3  # below, a radius that helps would be thousands of cells


def empty_types(settings: LatticeSettings) -> list[EdgeType]:
    """Edge types that no edge has; a self-edge counts as local."""
    counts = count_edges(settings)
    counts["local"] += counts["self"]
    return [edge_type for edge_type in EdgeType if counts[edge_type.label] == 0]


def check_types(settings: LatticeSettings) -> None:
    """Check that every edge type has edges.

    Raises:
        GraphError: a type is empty; names the key of its radius and a value that works.
    """
    empty = empty_types(settings)
    if not empty:
        return
    edge_type = empty[0]
    if edge_type is EdgeType.LOCAL and not settings.self_edges:
        raise GraphError(
            "lattice.self_edges",
            "expected at least one local edge, got none: the local radius "
            f"{settings.local_distance_threshold:g} is below one cell and self_edges is false",
            "Set lattice.self_edges to true",
        )
    inner, outer = {
        EdgeType.FUNCTIONAL: ("local", "functional"),
        EdgeType.DISTANT: ("functional", "distant"),
    }[edge_type]
    radii = settings.get_distance_thresholds()
    raise GraphError(
        f"lattice.{edge_type.label}_distance_ratio",
        f"expected at least one {edge_type.label} edge, got none: no two cells are more than "
        f"{radii[inner]:g} and at most {radii[outer]:g} cells apart",
        _advice(settings),
    )


def check_reach(settings: LatticeSettings, steps: int) -> None:
    """Check that the input on the front face can reach the back face.

    Args:
        settings: the lattice; only its surface ``front_back`` needs a crossing.
        steps: configured number of steps, ``model.dynamics.steps``.

    Raises:
        GraphError: an edge type is empty, or the steps are too few.
    """
    check_types(settings)
    needed = crossing_steps(settings)
    assert needed is not None, "a lattice with distant edges crosses"
    if settings.surface != "front_back" or steps >= needed:
        return
    raise GraphError(
        "model.dynamics.steps",
        f"expected at least {needed}, got {steps}: one step carries a signal "
        f"{reach(settings)['all']} cell(s) deep and the back face lies "
        f"{settings.dimensions[settings.axis] - 1} cells behind the front face",
        f"Set model.dynamics.steps to {needed} or more, or raise lattice.adaptive_radius_ratio",
    )


def check_stopping(settings: LatticeSettings, dynamics: DynamicsSettings) -> None:
    """Check that no sample can stop before its input has reached the back face.

    The cells that the input has not reached settle without it. A sample that stops then gives the
    same prediction as every other one, and nothing that lies before the lattice gets a gradient.

    Args:
        settings: the lattice; only its surface ``front_back`` needs a crossing.
        dynamics: ``min_steps`` and ``tolerance``; with a tolerance of 0 nothing stops.

    Raises:
        ConfigError: ``model.dynamics.min_steps`` is below the steps that cross the lattice.
    """
    needed = crossing_steps(settings)
    if settings.surface != "front_back" or dynamics.tolerance <= 0 or needed is None:
        return
    if dynamics.min_steps < needed:
        raise ConfigError(
            "model.dynamics.min_steps",
            f"expected at least {needed} with model.dynamics.tolerance above 0, got "
            f"{dynamics.min_steps} with tolerance {dynamics.tolerance:g}: the input needs {needed} "
            "steps to cross the lattice, and a sample that stops earlier does not depend on it",
            f"Set model.dynamics.min_steps to {needed} or more, or model.dynamics.tolerance to 0",
        )


def _advice(settings: LatticeSettings) -> str:
    """Suggest a change of the radius after which no edge type is empty."""
    # The types change only where a threshold passes a distance; try these radii, nearest first.
    ratios = [float(t / settings.exact_max_radius) for t in settings.exact_thresholds]
    radii = {
        math.ceil(100 * math.sqrt(squared) / ratio) / 100
        for squared in range(1, _ADVISED_DISTANCES)
        for ratio in ratios
        if ratio > _LEAST_RATIO
    }
    for radius in sorted(radii, key=lambda value: (abs(value - settings.max_radius), value)):
        key = "min" if radius > settings.max_radius else "max"
        bound = f"adaptive_radius_{key}"
        limits = {"min": settings.adaptive_radius_min, "max": settings.adaptive_radius_max}
        limits[key] = radius
        if limits["min"] > limits["max"]:
            continue
        if not empty_types(settings.model_copy(update={bound: radius})):
            return f"Set lattice.{bound} to {radius:g}"
    return "Set the three lattice.*_distance_ratio further apart, or enlarge lattice.dimensions"
