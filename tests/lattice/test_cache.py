from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import latticegraph.lattice.cache as cache
import latticegraph.lattice.graph as graph_module
from latticegraph.config import LatticeSettings
from latticegraph.errors import CacheError
from latticegraph.lattice import LatticeGraph, build_by_offsets, load_edges, save_edges


def test_cache_round_trip(tmp_path: Path) -> None:
    settings = LatticeSettings(dimensions=(4, 5, 6), numbering="morton")
    edges = build_by_offsets(settings)
    save_edges(tmp_path, settings, edges)
    loaded = load_edges(tmp_path, settings)
    assert loaded is not None
    assert loaded.edge_index_2E.dtype == loaded.edge_offset_E.dtype == torch.int64
    assert torch.equal(loaded.edge_index_2E, edges.edge_index_2E)
    assert torch.equal(loaded.edge_offset_E, edges.edge_offset_E)


def test_cache_leaves_one_file_and_no_temporary(tmp_path: Path) -> None:
    settings = LatticeSettings()
    path = save_edges(tmp_path / "new" / "folder", settings, build_by_offsets(settings))
    assert list(path.parent.iterdir()) == [path]


def test_cache_second_build_reads_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = LatticeSettings(cache_dir=str(tmp_path))
    first = LatticeGraph.build(settings)
    assert list(tmp_path.iterdir()) == []  # nothing is built before it is asked for
    assert first.edge_index_2E.shape[1] == first.num_edges

    def refuse(settings: LatticeSettings) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(graph_module, "build_by_offsets", refuse)
    second = LatticeGraph.build(settings)
    assert torch.equal(first.edge_index_2E, second.edge_index_2E)
    assert torch.equal(first.edge_attr_E4, second.edge_attr_E4)
    with pytest.raises(AssertionError, match="built again"):
        _ = LatticeGraph.build(settings.model_copy(update={"cache_dir": None})).edges


@pytest.mark.parametrize(
    "change",
    [
        {"dimensions": (8, 8, 9)},
        {"adaptive_radius_ratio": 0.25},
        {"local_distance_ratio": 0.11},
        {"self_edges": False},
        {"boundary": "periodic"},
        {"numbering": "morton"},
        {"builder": "torch_cluster"},
    ],
)
def test_cache_other_lattice_has_another_file(tmp_path: Path, change: dict[str, Any]) -> None:
    settings = LatticeSettings()
    save_edges(tmp_path, settings, build_by_offsets(settings))
    assert load_edges(tmp_path, LatticeSettings.model_validate(change)) is None


def test_cache_shared_by_settings_that_do_not_change_edges(tmp_path: Path) -> None:
    settings = LatticeSettings()
    save_edges(tmp_path, settings, build_by_offsets(settings))
    assert load_edges(tmp_path, LatticeSettings(axis=2, surface="all_faces")) is not None


@pytest.mark.parametrize("keep", [0, 40, -1])
def test_cache_truncated_file_is_damaged(tmp_path: Path, keep: int) -> None:
    settings = LatticeSettings()
    path = save_edges(tmp_path, settings, build_by_offsets(settings))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CacheError, match=r"got a damaged file.*Delete the file"):
        load_edges(tmp_path, settings)


def test_cache_flipped_byte_is_damaged(tmp_path: Path) -> None:
    settings = LatticeSettings(cache_dir=str(tmp_path))
    path = save_edges(tmp_path, settings, build_by_offsets(settings))
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(CacheError, match=r"its checksum does not match.*Delete the file"):
        _ = LatticeGraph.build(settings).edges


def test_cache_foreign_lattice_is_refused(tmp_path: Path) -> None:
    settings, other = LatticeSettings(), LatticeSettings(dimensions=(4, 4, 9))
    path = save_edges(tmp_path, other, build_by_offsets(other))
    path.rename(cache.cache_path(tmp_path, settings))
    with pytest.raises(
        CacheError, match=r"expected the lattice .*\[8, 8, 8\].*, got .*\[4, 4, 9\].*Delete"
    ):
        load_edges(tmp_path, settings)


def test_cache_file_without_fingerprint_is_refused(tmp_path: Path) -> None:
    settings = LatticeSettings()
    save_file({"weight": torch.ones(2)}, cache.cache_path(tmp_path, settings))
    with pytest.raises(CacheError, match="got a file without fingerprint"):
        load_edges(tmp_path, settings)


def test_cache_file_with_other_tensors_is_damaged(tmp_path: Path) -> None:
    settings = LatticeSettings()
    metadata = {"fingerprint": cache.edge_fingerprint(settings)}
    path = cache.cache_path(tmp_path, settings)
    save_file({"weight": torch.ones(2)}, path, metadata=metadata)
    with pytest.raises(CacheError, match=r"damaged file \(tensors \['weight'\]\)"):
        load_edges(tmp_path, settings)


def test_cache_folder_that_is_a_file_is_reported(tmp_path: Path) -> None:
    settings = LatticeSettings()
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    with pytest.raises(
        CacheError, match=r"lattice\.cache_dir: expected a writable folder, got .*Choose another"
    ):
        save_edges(blocked, settings, build_by_offsets(settings))


def test_cache_interrupted_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = LatticeSettings()
    edges = build_by_offsets(settings)
    path = save_edges(tmp_path, settings, edges)
    before = path.read_bytes()

    def fail(source: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(CacheError, match="disk full"):
        save_edges(tmp_path, settings, edges)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_cache_path_expands_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert cache.cache_path("~/graphs", LatticeSettings()).parent == tmp_path / "graphs"
