"""What the trainer learns from: embeddings that go in and embeddings that should come out.

Legend: N samples, D teacher width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latticegraph.errors import DataError


@dataclass(frozen=True)
class EmbeddingPairs:
    """Source and target embedding of every sample, row by row.

    For the task ``reconstruction`` both may be the same tensor.

    Args:
        source_ND: embeddings that enter the cube, float32.
        target_ND: embeddings that should leave it, float32, same shape.

    Shapes:
        source_ND, target_ND: [N, D], N >= 1

    Raises:
        DataError: for other shapes or types, or numbers that are not finite.
    """

    source_ND: Tensor
    target_ND: Tensor

    def __post_init__(self) -> None:
        for name, value in (("source", self.source_ND), ("target", self.target_ND)):
            if value.ndim != 2 or value.dtype != torch.float32 or not len(value):
                kind = str(value.dtype).removeprefix("torch.")
                raise DataError(
                    f"pairs.{name}",
                    f"expected float32 rows [N, D], got {kind} of shape {list(value.shape)}",
                    "Pass one float32 row per sample",
                )
            if not bool(torch.isfinite(value).all()):
                raise DataError(
                    f"pairs.{name}",
                    "expected finite numbers, got NaN or infinity",
                    "Embed the texts again",
                )
        if self.source_ND.shape != self.target_ND.shape:
            raise DataError(
                "pairs.target",
                f"expected the shape of the sources {list(self.source_ND.shape)}, got "
                f"{list(self.target_ND.shape)}",
                "Pass one target row per source row, embedded by the same teacher",
            )

    def __len__(self) -> int:
        return len(self.source_ND)

    @property
    def width(self) -> int:
        """D, numbers per embedding."""
        return self.source_ND.shape[1]

    def rows(self, index_B: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Source and target of some samples, on ``device``.

        Shapes:
            index_B: [B]; both results: [B, D]
        """
        return self.source_ND[index_B].to(device), self.target_ND[index_B].to(device)
