"""Model outputs made by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from latticegraph.model.output import StudentOutput

MakeOutput = Callable[..., StudentOutput]


@pytest.fixture
def make_output() -> MakeOutput:
    """Builds an output whose unnamed fields are harmless."""

    def make(**fields: Tensor) -> StudentOutput:
        defaults = {
            "embedding_BD": torch.zeros(2, 3),
            "code_BS": torch.zeros(2, 4),
            "surface_BS": torch.zeros(2, 4),
            "states_CNB": torch.ones(1, 2, 2),
            "usage_NX": torch.full((2, 3), 1 / 3),
            "change_T": torch.ones(2),
            "gate_balance": torch.tensor(0.0),
            "gate_z": torch.tensor(0.0),
        }
        merged = defaults | fields
        # Every sample takes every step.
        merged.setdefault("steps_B", torch.full((2,), len(merged["change_T"])))
        return StudentOutput(**merged)

    return make
