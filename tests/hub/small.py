"""A lattice small enough for every test of a stored model."""

from __future__ import annotations

from typing import Any

from latticegraph.config import Config


def small_config(teacher: dict[str, Any]) -> Config:
    """3 x 4 x 5 cells, three steps, behind a teacher."""
    return Config.model_validate(
        {
            "lattice": {"dimensions": [3, 4, 5], "adaptive_radius_min": 1.6},
            "model": {
                "state_channels": 4,
                "messages": {"heads": 4},
                "dynamics": {"steps": 3, "min_steps": 3},
            },
            "teacher": teacher,
        }
    )
