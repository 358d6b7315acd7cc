"""What is known of a size before anything is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from latticegraph.config import Config, load_config
from latticegraph.dynamics.offset_table import EdgeTable
from latticegraph.errors import ConfigError
from latticegraph.lattice import LatticeGraph
from latticegraph.pipeline import header
from latticegraph.pipeline.header import available_gb
from latticegraph.pipeline.prepare import build_model
from latticegraph.pipeline.size import least_parameters, surface_size

CPU = torch.device("cpu")
CONFIGS = Path(__file__).parents[2] / "configs"
Make = Callable[..., Config]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["lattice.surface=all_faces"],
        ["lattice.surface=volume", "teacher.dimension=60"],
        ["model.transformer.kind=autoencoder", "model.transformer.hidden=64"],
        ["model.transformer.kind=hierarchical", "model.transformer.levels=32,48"],
        ["model.mapper.lift=cell", "model.mapper.readout=surface", "lattice.axis=2"],
        ["model.experts.0.kind=cell", "model.mapper.volume_init=zeros"],
        ["model.messages.weights=edge"],
        ["model.experts.2.weights=edge", "model.experts.2.edges=[local,distant]"],
    ],
)
def test_counted_parameters_are_most_of_those_of_the_student(overrides: list[str]) -> None:
    config = load_config(CONFIGS / "tiny.yaml", overrides)
    graph, student = build_model(config, CPU)
    assert surface_size(config) == graph.input_cells.numel()
    grows = sum(
        parameter.numel()
        for name, parameter in student.named_parameters()
        if not name.endswith(("bias", "gain", "offset"))
        and (not name.startswith("dynamics.") or name.endswith("weight_NCI"))
    )
    by_cell = sum(p.numel() for n, p in student.named_parameters() if n.endswith("bias_NC"))
    by_edge = sum(m.weight_OH.numel() for m in student.modules() if isinstance(m, EdgeTable))
    assert bool(by_edge) == any("edge" in override for override in overrides)
    assert least_parameters(config) == grows + by_cell + by_edge


@pytest.mark.parametrize(
    "overrides",
    [
        # Cells, and what has to be made of them: 60 GiB of coordinates, numbers and depths.
        ["lattice.dimensions=1000,1000,1000", "model.dynamics.steps=400"],
        ["model.experts.0.kind=cell", "model.state_channels=4096"],
        ["model.transformer.kind=autoencoder", "model.transformer.hidden=65536"],
        ["lattice.dimensions=3,500,500"],
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_built(
    make_config: Make, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(*arguments: object) -> None:
        raise AssertionError("built all the same")

    monkeypatch.setattr(header, "available_gb", lambda device: 0.05)
    monkeypatch.setattr(LatticeGraph, "build", built)
    with pytest.raises(ConfigError, match=r"fits into the 0.1 GB free on cpu, got one that needs"):
        build_model(make_config(*overrides), CPU)


def test_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gib = 2**30
    assert header._cgroup_bytes(tmp_path) is None
    (tmp_path / "memory.max").write_text(f"{3 * gib}\n")
    (tmp_path / "memory.current").write_text(f"{2 * gib}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {gib // 2}\n")
    assert header._cgroup_bytes(tmp_path) == 3 * gib // 2
    (tmp_path / "memory.max").write_text("max\n")
    old = tmp_path / "memory"
    old.mkdir()
    (old / "memory.limit_in_bytes").write_text(f"{gib}\n")
    (old / "memory.usage_in_bytes").write_text(f"{2 * gib}\n")
    (old / "memory.stat").write_text("total_inactive_file 7\n")
    assert header._cgroup_bytes(tmp_path) == 0
    monkeypatch.setattr(header, "_cgroup_bytes", lambda root: 2**20)
    assert available_gb(CPU) == 2**-10
