"""Runs what a page of docs/ teaches, in a folder of its own, as its reader would."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from latticegraph import load_config, train
from latticegraph.config import dump_config

DOCS = Path(__file__).parents[2] / "docs"
VARIANTS = {
    "float32-spmm": ("model.aggregation=spmm",),
    "float32-fft": ("model.aggregation=fft",),
    "float32-scatter": ("model.aggregation=scatter",),
    "bfloat16": ("training.precision=bfloat16",),
}
WIDTH = 24
TINY = f"""\
run: {{name: page, seed: 1}}
lattice: {{dimensions: [3, 4, 5], adaptive_radius_min: 1.6}}
model: {{state_channels: 16, dynamics: {{steps: 4, min_steps: 4}}}}
teacher: {{kind: array, name: rows.npy, texts: text.txt, dimension: {WIDTH}, cache_dir: cache}}
data: {{train: [text.txt], min_sentences: 4}}
training:
  batch_size: 8
  phases: [{{name: short, updates: 2}}]
evaluation: {{mlp_hidden: 8, baseline_epochs: 1, off_epochs: 1, decoded_examples: 1}}
report: {{attribution: none}}
"""


def blocks(page: str) -> dict[str, str]:
    """Fenced blocks of a page by the file name in their first line, a comment."""
    text = (DOCS / page).read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60, f"{page}: expected a page under 60 lines"
    found = re.findall(r"^```\w+\n# ([\w.]+\.(?:py|yaml))\n(.*?)^```", text, re.M | re.S)
    return dict(found)


def write_page(folder: Path, page: str) -> Path:
    """Write the files of a page, the tiny configuration and its text into ``folder``."""
    for name, text in blocks(page).items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")
    lines = [f"Sentence number {number} of the text." for number in range(60)]
    (folder / "text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = np.random.default_rng(0).standard_normal((60, WIDTH)).astype(np.float32)
    np.save(folder / "rows.npy", rows)
    return folder


@pytest.fixture
def train_page(tmp_path, monkeypatch):
    """Train what a page teaches; its YAML block wins over the tiny configuration."""

    def run(page: str, *overrides: str):
        monkeypatch.chdir(write_page(tmp_path, page))
        config = merged(tmp_path, page, overrides)
        return config, train(config)

    return run


def merged(folder: Path, page: str, overrides):
    """The tiny configuration with the settings of a page's YAML block and overrides on top."""
    (name,) = [name for name in blocks(page) if name.endswith(".yaml")]
    import yaml

    def over(base, top):
        if not isinstance(base, dict) or not isinstance(top, dict):
            return top
        return base | {key: over(base.get(key), value) for key, value in top.items()}

    tree = over(yaml.safe_load(TINY), yaml.safe_load((folder / name).read_text(encoding="utf-8")))
    (folder / "merged.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    config = load_config(folder / "merged.yaml", list(overrides))
    assert dump_config(config)
    return config
