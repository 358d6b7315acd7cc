"""The lattice of a configuration, described without building it."""

from __future__ import annotations

from typing import Any

from latticegraph.config import Config
from latticegraph.lattice import describe_lattice


def describe(config: Config) -> dict[str, Any]:
    """Counts and degrees per edge type, thresholds, reach, steps to cross, memory, warnings.

    Args:
        config: the sections lattice and model, and the batch size, apply.

    Returns:
        A dictionary that JSON can hold; see :func:`latticegraph.lattice.describe_lattice`.
    """
    dynamics = config.model.dynamics
    return describe_lattice(
        config.lattice,
        steps=dynamics.steps if dynamics.mode == "lattice" else None,
        channels=config.model.state_channels,
        batch=config.training.batch_size,
    )
