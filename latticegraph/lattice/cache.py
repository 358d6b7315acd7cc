"""Built edges on disk: one safetensors file per lattice, checked before use.

Shapes: E edges.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from latticegraph.config import LatticeSettings
from latticegraph.digests import tensors_sha256, text_sha256
from latticegraph.errors import CacheError
from latticegraph.files import replace_file
from latticegraph.lattice.edge_list import EdgeList
from latticegraph.tensor_files import read_tensors

_FORMAT = 2


def edge_fingerprint(settings: LatticeSettings) -> str:
    """The part of the settings that decides the edges and their order, as JSON text."""
    parts = {
        "format": _FORMAT,
        "dimensions": list(settings.dimensions),
        "thresholds": [str(threshold) for threshold in settings.exact_thresholds],
        "self_edges": settings.self_edges,
        "boundary": settings.boundary,
        "numbering": settings.numbering,
        "builder": settings.builder,
    }
    return json.dumps(parts, sort_keys=True)


def cache_path(folder: str | Path, settings: LatticeSettings) -> Path:
    """The file in ``folder`` (``~`` allowed) that holds the edges of this lattice."""
    digest = text_sha256(edge_fingerprint(settings))
    size = "x".join(str(side) for side in settings.dimensions)
    return Path(folder).expanduser() / f"lattice-{size}-{digest[:16]}.safetensors"


def save_edges(folder: str | Path, settings: LatticeSettings, edges: EdgeList) -> Path:
    """Write the edges atomically: a reader sees the whole file or none.

    Raises:
        CacheError: the folder cannot be written.
    """
    path = cache_path(folder, settings)
    # int32 halves the file; cell and offset numbers stay far below 2^31.
    tensors = {
        "edge_index_2E": edges.edge_index_2E.to(torch.int32).contiguous(),
        "edge_offset_E": edges.edge_offset_E.to(torch.int32).contiguous(),
    }
    metadata = {"fingerprint": edge_fingerprint(settings), "sha256": tensors_sha256(tensors)}
    try:
        replace_file(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))
    except (OSError, SafetensorError) as error:
        raise CacheError(
            "lattice.cache_dir",
            f"expected a writable folder, got '{path.parent}' ({error})",
            "Choose another folder, free disk space, or set lattice.cache_dir to null",
        ) from error
    return path


def load_edges(folder: str | Path, settings: LatticeSettings) -> EdgeList | None:
    """Read the edges of this lattice; None if they were never saved.

    Raises:
        CacheError: the file is damaged, or holds another lattice.
    """
    path = cache_path(folder, settings)
    if not path.exists():
        return None
    try:
        metadata, tensors = read_tensors(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error
    if metadata.get("fingerprint") != edge_fingerprint(settings):
        raise CacheError(
            str(path),
            f"expected the lattice {edge_fingerprint(settings)}, got "
            f"{metadata.get('fingerprint', 'a file without fingerprint')}",
            "Delete the file; the next run writes it anew",
        )
    if set(tensors) != {"edge_index_2E", "edge_offset_E"}:
        raise _damaged(path, f"tensors {sorted(tensors)}")
    if metadata.get("sha256") != tensors_sha256(tensors):
        raise _damaged(path, "its checksum does not match")
    return EdgeList(
        tensors["edge_index_2E"].to(torch.int64), tensors["edge_offset_E"].to(torch.int64)
    )


def _damaged(path: Path, reason: str) -> CacheError:
    return CacheError(
        str(path),
        f"expected an intact lattice cache, got a damaged file ({reason})",
        "Delete the file; the next run writes it anew",
    )
