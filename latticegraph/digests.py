"""SHA-256 of texts, files and tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def text_sha256(text: str) -> str:
    """64 hexadecimal digits over the UTF-8 bytes of ``text``."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def file_sha256(path: Path) -> bytes:
    """SHA-256 of one file, 32 bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def tensors_sha256(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """64 hexadecimal digits over names, types, shapes and bytes of tensors, in any order.

    Args:
        tensors: contiguous tensors on the CPU by name.
        text: what else the digest covers, for instance the settings that belong to the tensors.
    """
    import torch  # The commands that need no torch import this file too.

    digest = hashlib.sha256(text.encode("utf-8"))
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
