"""Small lattices and students for the tests of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from latticegraph.config import LatticeSettings, ModelSettings
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Student, build_student

WIDTH = 24


def small_lattice(**changes: Any) -> LatticeSettings:
    """4 x 4 x 5 cells with a radius of 1.6, deep along axis 0."""
    return LatticeSettings(**{"dimensions": (4, 4, 5), "adaptive_radius_min": 1.6, **changes})


def small_model(**changes: Any) -> ModelSettings:
    """Four channels, four steps."""
    defaults: dict[str, Any] = {
        "state_channels": 4,
        "messages": {"heads": 2, "edge_hidden": 8},
        "dynamics": {"steps": 4, "min_steps": 4},
    }
    return ModelSettings.model_validate({**defaults, **changes})


def experts(**distant: Any) -> list[dict[str, Any]]:
    """The three built-in experts, with options of the distant one."""
    kinds = ("local", "functional", "distant")
    listed: list[dict[str, Any]] = [{"name": k, "kind": k, "edges": [k]} for k in kinds]
    listed[-1]["options"] = distant
    return listed


@pytest.fixture
def build() -> Callable[..., Student]:
    """A function that builds a double-precision student from changed settings."""

    def make(
        model: dict[str, Any] | None = None,
        lattice: dict[str, Any] | None = None,
        width: int = WIDTH,
        started: bool = True,
    ) -> Student:
        graph = LatticeGraph.build(small_lattice(**(lattice or {})))
        student = build_student(small_model(**(model or {})), graph, width, seed=1).double()
        if started:
            data = embeddings(64, width)
            student.start_from_data(data, data)
        return student

    return make


def embeddings(rows: int, width: int = WIDTH, seed: int = 3) -> torch.Tensor:
    """Correlated random vectors with a mean, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator, dtype=torch.float64)
    data = torch.randn(rows, width, generator=generator, dtype=torch.float64) @ mixing
    return data / data.norm(dim=1, keepdim=True) + 0.1


def excite(student: torch.nn.Module, seed: int = 5) -> None:
    """Move every parameter off its special start so that no path is blocked by a zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in student.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(0.05 * noise)


def assert_same(got: torch.Tensor | None, wanted: torch.Tensor | None, within: float) -> None:
    """Equal but for rounding: ``within`` of the largest number, and of 1 where all are smaller."""
    assert got is not None
    assert wanted is not None
    assert got.shape == wanted.shape
    scale = max(1.0, float(wanted.detach().abs().max())) if wanted.numel() else 1.0
    torch.testing.assert_close(got, wanted, rtol=0, atol=within * scale)
