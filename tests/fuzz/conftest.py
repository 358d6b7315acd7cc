"""How many cases each fuzz test tries, and a small project to try them on."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st

from latticegraph.cli import main

# LATTICEGRAPH_FUZZ=10 tries ten times as many cases as the test suite does.
TIMES = int(os.environ.get("LATTICEGRAPH_FUZZ", "1"))
WIDTH = 6


def cases(number: int) -> Any:
    """Settings of a test: so many cases, the same ones every time, none above ten seconds."""
    return settings(
        max_examples=number * TIMES,
        deadline=timedelta(seconds=10),
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def outcome(words: Sequence[str]) -> tuple[int, str]:
    """Exit status and standard output of a command, which succeeds or says in one line why not."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as stop:  # of argparse, which prints the usage first
            return int(str(stop.code)), out.getvalue()
    event(f"exit {status}")
    said = [line for line in err.getvalue().split("\n") if line.startswith("error: ")]
    assert status in (0, 2), err.getvalue()
    assert len(said) == (status == 2), err.getvalue()
    return status, out.getvalue()


def damaged(good: bytes) -> st.SearchStrategy[bytes]:
    """Bytes that are nothing like ``good``, or ``good`` with a piece replaced or cut off."""
    place, length = st.integers(0, len(good)), st.integers(0, 40)
    replaced = st.tuples(place, length, st.binary(max_size=40)).map(
        lambda x: good[: x[0]] + x[2] + good[x[0] + x[1] :]
    )
    flipped = st.tuples(st.integers(0, len(good) - 1), st.integers(0, 7)).map(
        lambda x: good[: x[0]] + bytes([good[x[0]] ^ (1 << x[1])]) + good[x[0] + 1 :]
    )
    cut = place.map(lambda end: good[:end])
    return st.one_of(st.binary(max_size=300), replaced, flipped, cut)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration, text and a teacher that is an array."""
    folder = tmp_path_factory.mktemp("fuzz")
    lines = [f"Sentence {i} of the café, number {i * i} 🙂" for i in range(40)]
    rows = np.random.default_rng(0).normal(size=(len(lines), WIDTH))
    np.save(folder / "rows.npy", rows.astype(np.float32))
    (folder / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "small.yaml").write_text(
        f"""
run: {{device: cpu, threads: 1, output_dir: {folder / "runs"}}}
lattice: {{dimensions: [3, 3, 3], adaptive_radius_min: 1.6}}
model: {{state_channels: 4, messages: {{heads: 4}}, dynamics: {{steps: 3, min_steps: 3}}}}
teacher:
  {{kind: array, name: {folder / "rows.npy"}, texts: {folder / "text.txt"}, dimension: {WIDTH},
    cache_dir: {folder / "cache"}}}
data: {{train: ["{folder / "text.txt"}"], min_sentences: 10}}
training: {{batch_size: 8, phases: [{{name: main, updates: 2}}]}}
""",
        encoding="utf-8",
    )
    return folder
