"""A project of few short sentences: a 3 x 3 x 3 cube and a teacher that is an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

WIDTH = 12


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``small.yaml``, ``corpus.txt``, and ``new.txt`` that ends in new lines."""
    folder = tmp_path_factory.mktemp("project")
    lines = [f"Sentence {i} of the café, number {i * i} 🙂" for i in range(90)]
    random = np.random.default_rng(0)
    np.save(folder / "rows.npy", random.normal(size=(len(lines), WIDTH)).astype(np.float32))
    (folder / "known.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "corpus.txt").write_text("\n".join(lines[:80]), encoding="utf-8")
    (folder / "new.txt").write_text("\n".join(lines[75:]), encoding="utf-8")
    text = f"""
run: {{device: cpu}}
lattice: {{dimensions: [3, 3, 3], adaptive_radius_min: 1.6}}
model: {{state_channels: 4, dynamics: {{steps: 3, min_steps: 3}}}}
teacher: {{kind: array, name: rows.npy, texts: known.txt, dimension: {WIDTH}, cache_dir: cache}}
data: {{train: [corpus.txt], min_sentences: 10}}
training:
  batch_size: 16
  phases: [{{name: main, updates: 6}}]
evaluation: {{mlp_hidden: 8, baseline_epochs: 2, off_epochs: 1, decoded_examples: 2}}
"""
    (folder / "small.yaml").write_text(text, encoding="utf-8")
    return folder
