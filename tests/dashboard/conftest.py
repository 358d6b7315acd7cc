"""Logs of runs as training writes them, without training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXPERTS = ("local", "functional", "distant")


def log_of(
    validations: int = 8,
    lines: int = 40,
    explained: Callable[[float], float] = lambda done: 0.1 + 0.5 * done,
    loss: Callable[[float], float] = lambda done: math.exp(-2 * done),
    end: str | None = "finished",
    layers: int = 3,
    across: int = 4,
) -> list[dict[str, Any]]:
    """Records of a run whose curves are functions of the share that is done."""
    total = lines * 10
    rows: list[dict[str, Any]] = [
        {
            "kind": "start",
            "update": 0,
            "epoch": 0,
            "phase": "main",
            "total_updates": total,
            "updates_per_epoch": total // validations,
            "dimensions": [layers, across, across],
            "axis": 0,
            "steps": 2,
            "experts": list(EXPERTS),
            "parameters": 1000,
        }
    ]
    for number in range(lines):
        done = (number + 1) / lines
        if number * validations % lines < validations:
            rows += _validation(number * 10, explained(number / lines), layers, across)
        rows.append(_line(number * 10 + 10, done, loss(done)))
    rows += _validation(total, explained(1.0), layers, across)
    if end is not None:
        rows.append({"kind": "end", "update": total, "epoch": 9, "phase": "main", "reason": end})
    return rows


def _line(update: int, done: float, loss: float) -> dict[str, Any]:
    return {
        "kind": "train",
        "update": update,
        "epoch": 1,
        "phase": "main",
        "learning_rate": 0.001 * (1.01 - done),
        "losses": {"reconstruction": loss, "similarity": loss / 2, "total": loss * 1.25},
        "gradient_shares": {"reconstruction": 0.8, "similarity": 0.2},
        "grad_norm": {"total": 0.5 * loss, "mapper": 0.3 * loss, "experts.local": 0.2 * loss},
        "samples_per_second": 500.0 + 20 * done,
        "ms_per_step": 12.0,
        "peak_memory_mb": 800.0,
        "usage": dict.fromkeys(EXPERTS, 1 / 3),
    }


def _validation(update: int, explained: float, layers: int, across: int) -> list[dict[str, Any]]:
    head = {"update": update, "epoch": 1, "phase": "main"}
    cells = layers * across * across
    experts = [str((place * 7 + place // 5) % 3) for place in range(cells)]
    size = across * across
    return [
        {
            "kind": "validation",
            **head,
            "explained_variance": explained,
            "recall_at_1": 0.9,
            "usage": {"local": 0.2, "functional": 0.3, "distant": 0.5},
            "spread": {
                "effective_rank": 20.0,
                "target_effective_rank": 40.0,
                "pairwise_cosine": 0.12,
                "target_pairwise_cosine": 0.1,
            },
            "prediction_std_ratio": 0.8,
            "embedding_norm": 0.9,
        },
        {
            "kind": "cube",
            **head,
            "samples": 64,
            "state_norm": [0.5, 0.8, 2.0],
            "change": [0.9, 0.4],
            "gate_entropy": [0.99, 0.7],
            "step_usage": {name: [0.3, 0.4] for name in EXPERTS},
            "depth_usage": {name: [0.3] * layers for name in EXPERTS},
            "unused_cells": dict.fromkeys(EXPERTS, 0.0),
            "cells": {
                "layers": list(range(layers)),
                "rows": list(range(across)),
                "columns": list(range(across)),
                "experts": ["".join(experts[i * size : (i + 1) * size]) for i in range(layers)],
                "shares": ["".join(str(i % 10) for i in range(size))] * layers,
            },
        },
        {
            "kind": "examples",
            **head,
            "examples": [
                {"target": "A <b>cat</b> & a dog 🙂", "decoded": "A dog\nand a cat", "cosine": 0.9},
                {"target": "long " * 200, "decoded": "\ud83d half", "cosine": 0.5},
            ],
        },
    ]


@pytest.fixture
def write_log(tmp_path: Path) -> Callable[..., Path]:
    """The folder of a run with a log of the records, or of those that the options ask for."""

    def write(name: str, records: list[dict[str, Any]] | None = None, **options: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        rows = log_of(**options) if records is None else records
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
        return folder

    return write
