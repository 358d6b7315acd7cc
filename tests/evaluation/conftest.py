"""Embeddings with a known structure, and a finished report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from latticegraph.evaluation import MeanBaseline, report_metrics


@pytest.fixture
def curved() -> NDArray[np.float64]:
    """600 points in 8 dimensions on a curved 2-dimensional sheet, so that nonlinear maps pay."""
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 600))
    columns = [
        u,
        v,
        u * v,
        u**2 - 1,
        v**2 - 1,
        np.sin(2 * u),
        np.cos(2 * v),
        0.3 * rng.normal(size=600),
    ]
    return np.stack(columns, axis=1) + 0.5


def metrics(explained_variance: float, **more: float) -> dict[str, float]:
    return {
        "explained_variance": explained_variance,
        "cosine": 0.8,
        "centred_cosine": 0.7,
        "mse": 0.00123,
        "recall_at_1": 0.9,
        **more,
    }


@pytest.fixture
def report() -> dict[str, Any]:
    """A finished report: above PCA, below the MLP."""
    shown = report_metrics("reconstruction", ())
    return {
        "task": "reconstruction",
        "student": metrics(0.7),
        "lattice_off": metrics(-0.2),
        "lattice_off_retrained": metrics(0.65),
        "baselines": {
            "mean": metrics(0.0),
            "pca": metrics(0.6),
            "linear_autoencoder": metrics(0.599),
            "mlp_autoencoder": metrics(0.75),
        },
        "metrics": {one.name: {"title": one.title, "format": one.format} for one in shown},
        "rows": {
            "student": "student (the cube)",
            "lattice_off": "lattice switched off",
            "lattice_off_retrained": "retrained without lattice",
            "baselines.mean": MeanBaseline.title,
            "baselines.pca": "PCA",
            "baselines.linear_autoencoder": "linear autoencoder",
            "baselines.mlp_autoencoder": "MLP autoencoder",
        },
        "throughput": 1234.5,
        "parameters": 98765,
        "steps_used": 8.0,
        "edges": {"self": 512, "functional": 2688},
        "cache_hit_rate": 0.5,
        "examples": [
            {"source": "a | *b* 🙂\nc", "target": "a | *b* 🙂\nc", "decoded": "d", "cosine": 0.91}
        ],
    }
