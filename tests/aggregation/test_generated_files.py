"""What PyG writes for message-passing classes, and what torch says, does not stay or show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import warnings
warnings.simplefilter("always")
import torch
from latticegraph import LatticeGraph, load_config
from latticegraph.model import build_student
config = load_config(None, [
    "lattice.dimensions=3,3,4", "lattice.adaptive_radius_min=1.6", "model.dynamics.steps=3",
    "model.dynamics.min_steps=3",
])
graph = LatticeGraph.build(config.lattice)
for backend in ("scatter", "spmm"):
    student = build_student(config.model, graph, 12, backend=backend)
    student(torch.randn(2, 12)).embedding_BD.sum().backward()
"""


def test_no_generated_file_and_no_warning_is_left(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Sparse CSR" not in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".py"] == []
