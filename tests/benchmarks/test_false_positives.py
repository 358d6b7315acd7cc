"""Untrained lattices with labels that mean nothing: the tests of the analysis find little."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "false_positives.py"


@pytest.mark.slow
def test_few_untrained_lattices_are_called_significant():
    spec = importlib.util.spec_from_file_location("false_positives", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    seeds = 3
    rates = module.measure(seeds)
    assert len(rates) == 8
    # At a rate of 5% each, more than 4 of these 24 verdicts are wrong once in a hundred times.
    assert sum(rates.values()) * seeds <= 4
