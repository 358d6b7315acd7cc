"""Tensors of a safetensors file with its metadata."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from torch import Tensor


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata, and all tensors by name, on the CPU.

    Args:
        path: the file.

    Raises:
        OSError, SafetensorError: it cannot be read or is damaged; the caller knows what it was.
    """
    with safe_open(path, framework="pt") as file:
        # The file is no mapping: it has keys and cannot be iterated over.
        return dict(file.metadata() or {}), {n: file.get_tensor(n) for n in file.keys()}  # noqa: SIM118
