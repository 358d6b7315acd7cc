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


def metrics(explained_variance: float, **more: Any) -> dict[str, Any]:
    return {
        "explained_variance": explained_variance,
        "cosine": 0.8,
        "centred_cosine": 0.7,
        "mse": 0.00123,
        "recall_at_1": 0.9,
        **more,
    }


def difference(value: float, half: float = 0.01) -> dict[str, float]:
    return {"explained_variance": value, "low": value - half, "high": value + half}


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
        "attribution": {
            "untrained_lattice": metrics(0.68, parameters=98765, difference=difference(0.02)),
            "frozen_lattice": metrics(0.701, parameters=98765, difference=difference(-0.001)),
            "random_features": metrics(0.69, parameters=4096, difference=difference(0.01, 0.02)),
            "decoder_network": metrics(0.76, parameters=98700, difference=difference(-0.06)),
        },
        "differences": {
            "lattice_off": difference(0.9),
            "lattice_off_retrained": difference(0.05),
            "mean": difference(0.7),
            "pca": difference(0.1),
            "linear_autoencoder": difference(0.101),
            "mlp_autoencoder": difference(-0.05),
        },
        "heldout": {"samples": 1344, "groups": 44},
        "metrics": {one.name: {"title": one.title, "format": one.format} for one in shown},
        "rows": {
            "student": "student (the cube)",
            "lattice_off": "lattice switched off",
            "lattice_off_retrained": "retrained without lattice",
            "baselines.mean": MeanBaseline.title,
            "baselines.pca": "PCA",
            "baselines.linear_autoencoder": "linear autoencoder",
            "baselines.mlp_autoencoder": "MLP autoencoder",
            "attribution.untrained_lattice": "untrained lattice",
            "attribution.frozen_lattice": "frozen lattice",
            "attribution.random_features": "random features",
            "attribution.decoder_network": "decoder network",
        },
        "training": {"updates": 2400, "best_update": 1068},
        "curves": {
            "student": {
                "training_loss": [[1, 0.5], [2, 0.4]],
                "explained_variance": [[0, 0.6], [1, 0.65], [2, 0.7]],
            }
        },
        "roles": {
            "gates": {"bits": 0.0123, "null": 0.0045, "null_high": 0.006, "p_value": 0.005},
            "experts": {
                "local": {
                    "share": 0.25,
                    "silenced": {"explained_variance": 0.6, "difference": difference(0.1)},
                },
                "distant": {
                    "share": 0.75,
                    "silenced": {"explained_variance": 0.699, "difference": difference(0.001)},
                },
            },
        },
        "run": "8cube",
        "command": "train.py --config configs/8cube.yaml",
        "date": "2026-01-02T03:04:05+00:00",
        "lattice_parameters": 46480,
        "throughput": 1234.5,
        "parameters": 98765,
        "steps_used": 8.0,
        "edges": {"self": 512, "functional": 2688},
        "cache_hit_rate": 0.5,
        "examples": [
            {
                "source": "a | *b* 🙂\nc",
                "target": "a | *b* 🙂\nc",
                "decoded": "d",
                "cosine": 0.91,
                "is_target": False,
                "nearest_other": "d",
                "other_cosine": 0.91,
                "searched": 12783,
            }
        ],
    }
