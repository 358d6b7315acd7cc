"""An untrained 3 x 4 x 5 lattice with its PCA start, and text with groups."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from latticegraph.config import Config, LatticeSettings, ModelSettings
from latticegraph.evaluation import EmbeddingSplit
from latticegraph.hub import LatticeModel, LatticeModelConfig
from latticegraph.lattice import LatticeGraph
from latticegraph.model import build_student

WIDTH, SAMPLES = 24, 48


def embeddings(rows: int, seed: int = 3) -> torch.Tensor:
    """Correlated random vectors with a mean."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(9))
    data = torch.randn(rows, WIDTH, generator=generator) @ mixing
    return data / data.norm(dim=1, keepdim=True) + 0.1


@pytest.fixture(scope="session")
def make_model() -> Callable[..., LatticeModel]:
    """A function from a seed and settings of the model to an untrained model."""

    def make(seed: int = 0, steps: int = 4, **changes: object) -> LatticeModel:
        lattice = LatticeSettings(dimensions=(3, 4, 5), axis=2, adaptive_radius_min=1.6)
        settings = ModelSettings.model_validate(
            {
                "state_channels": 4,
                "messages": {"heads": 2, "edge_hidden": 8},
                "dynamics": {"steps": steps, "min_steps": steps},
                **changes,
            }
        )
        graph = LatticeGraph.build(lattice)
        torch.manual_seed(seed)
        student = build_student(settings, graph, WIDTH, seed=seed)
        data = embeddings(256)
        student.start_from_data(data, data)
        config = Config(
            lattice=lattice, model=settings, teacher={"kind": "packaged", "dimension": WIDTH}
        )
        return LatticeModel(student, graph, LatticeModelConfig.of(config, None))

    return make


@pytest.fixture(scope="session")
def model(make_model: Callable[..., LatticeModel]) -> LatticeModel:
    """Four steps across five planes."""
    return make_model()


@pytest.fixture(scope="session")
def heldout() -> EmbeddingSplit:
    """Embeddings that are their own targets."""
    rows = embeddings(SAMPLES, seed=4)
    return EmbeddingSplit.of("heldout", rows, rows)


@pytest.fixture(scope="session")
def groups() -> list[str]:
    """Four samples of each group."""
    return [f"g{sample // 4}" for sample in range(SAMPLES)]


@pytest.fixture(scope="session")
def train_mean_D() -> np.ndarray:
    """Mean of the training targets."""
    return embeddings(256).double().mean(0).numpy()
