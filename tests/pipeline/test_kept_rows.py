"""Fitted rows of a run are used for the fit they belong to, and for no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from latticegraph.config import Config
from latticegraph.evaluation import MeanBaseline
from latticegraph.pipeline.kept_rows import KeptRows
from latticegraph.pipeline.prepare import Prepared, prepare


@pytest.fixture
def prepared(make_config: Callable[..., Config]) -> Prepared:
    return prepare(make_config(), torch.device("cpu"))


def fill(folder: Path, prepared: Prepared, bottleneck: int = 9) -> bool:
    """Whether the row had to be fitted."""
    row, fitted = MeanBaseline(), []

    def fit() -> None:
        row.fit(np.zeros((2, 3)), np.ones((2, 3)))
        fitted.append(True)

    KeptRows(folder, write=True).fill("rows", [row], prepared, bottleneck, fit)
    assert np.array_equal(row.predict(np.zeros((1, 3))), np.ones((1, 3)))
    return bool(fitted)


def other_text(prepared: Prepared) -> Prepared:
    turned = prepared.splits.train[::-1]
    return replace(prepared, splits=replace(prepared.splits, train=turned))


def other_seed(prepared: Prepared) -> Prepared:
    run = prepared.config.run.model_copy(update={"seed": 7})
    return replace(prepared, config=prepared.config.model_copy(update={"run": run}))


def test_rows_are_fitted_once(prepared: Prepared, tmp_path: Path) -> None:
    assert [fill(tmp_path, prepared) for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize("change", [other_text, other_seed])
def test_rows_of_another_fit_are_not_used(
    prepared: Prepared, tmp_path: Path, change: Callable[[Prepared], Prepared]
) -> None:
    assert fill(tmp_path, prepared)
    assert fill(tmp_path, change(prepared))
    assert fill(tmp_path, prepared, bottleneck=8)
