"""A project of few short sentences: a 3 x 3 x 3 cube and a teacher that is an array."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from latticegraph.config import Config, load_config

WIDTH = 12


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., Config]:
    """A function from overrides to the configuration of the project."""
    who = ("cat", "dog", "crow", "child", "judge", "baker", "sailor", "robot", "moth", "queen")
    does = ("sees", "paints", "drops", "hides", "buys", "greets", "follows", "mends")
    lines = [f"The {a} {b} the café {i}." for i, a in enumerate(who) for b in does]
    lines += [f"Nobody asked about number {i} 🙂" for i in range(10)]
    random = np.random.default_rng(0)
    rows = random.normal(size=(len(lines), 6)) @ random.normal(size=(6, WIDTH))
    rows += 0.4 * random.normal(size=rows.shape)
    np.save(tmp_path / "rows.npy", rows.astype(np.float32))
    (tmp_path / "known.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "corpus.txt").write_text("\n".join(lines[:80]), encoding="utf-8")
    (tmp_path / "new.txt").write_text("\n".join(lines[75:]), encoding="utf-8")
    pairs = [{"question": a, "answer": b} for a, b in pairwise(lines)]
    text = "\n".join(json.dumps(pair, ensure_ascii=False) for pair in pairs)
    (tmp_path / "pairs.jsonl").write_text(text, encoding="utf-8")
    tree = f"""
run: {{name: small, output_dir: {tmp_path / "runs"}, device: cpu}}
lattice: {{dimensions: [3, 3, 3], adaptive_radius_min: 1.6}}
model: {{state_channels: 4, messages: {{heads: 4}}, dynamics: {{steps: 3, min_steps: 3}}}}
teacher:
  kind: array
  name: {tmp_path / "rows.npy"}
  texts: {tmp_path / "known.txt"}
  dimension: {WIDTH}
  cache_dir: {tmp_path / "cache"}
data: {{train: ["{tmp_path / "corpus.txt"}"], min_sentences: 10}}
training:
  batch_size: 16
  phases: [{{name: main, updates: 6}}]
evaluation: {{mlp_hidden: 8, baseline_epochs: 2, off_epochs: 1, decoded_examples: 2}}
report: {{attribution: none}}
"""
    (tmp_path / "small.yaml").write_text(tree, encoding="utf-8")

    def make(*overrides: str) -> Config:
        return load_config(tmp_path / "small.yaml", overrides)

    return make
