"""Embeddings to learn from, and the batches that an update sees.

Legend: N samples, B batch, D teacher width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from latticegraph.errors import DataError
from latticegraph.training.plan import TrainingPlan, mixed_seed


@dataclass(frozen=True)
class EmbeddingPairs:
    """Source and target embedding of every sample, row by row.

    For the task ``reconstruction`` both may be the same tensor.

    Args:
        source_ND: embeddings that enter the cube, float32 or float64.
        target_ND: embeddings that should leave it, of the same type and shape.

    Shapes:
        source_ND, target_ND: [N, D], N >= 1

    Raises:
        DataError: for other shapes or types, or numbers that are not finite.
    """

    source_ND: Tensor
    target_ND: Tensor

    def __post_init__(self) -> None:
        for name, value in (("source", self.source_ND), ("target", self.target_ND)):
            known = value.dtype in (torch.float32, torch.float64)
            if value.ndim != 2 or not known or not value.numel():
                kind = str(value.dtype).removeprefix("torch.")
                raise DataError(
                    f"pairs.{name}",
                    f"expected float32 rows [N, D], got {kind} of shape {list(value.shape)}",
                    "Pass one float32 (or float64) row per sample",
                )
            if name == "target" and value is self.source_ND:
                continue
            if not bool(torch.stack(torch.aminmax(value)).isfinite().all()):
                raise DataError(
                    f"pairs.{name}",
                    "expected finite numbers, got NaN or infinity",
                    "Embed the texts again",
                )
        source, target = (
            (list(value.shape), value.dtype) for value in (self.source_ND, self.target_ND)
        )
        if source != target:
            raise DataError(
                "pairs.target",
                f"expected the shape of the sources {source[0]} ({source[1]}), got "
                f"{target[0]} ({target[1]})",
                "Pass one target row per source row, embedded by the same teacher",
            )

    def __len__(self) -> int:
        return len(self.source_ND)

    @property
    def width(self) -> int:
        """D, numbers per embedding."""
        return self.source_ND.shape[1]

    @cached_property
    def target_mean_D(self) -> Tensor:
        """Mean of the targets.

        Shapes:
            [D]
        """
        return self.target_ND.mean(0)

    @cached_property
    def target_variance(self) -> float:
        """Mean over dimensions of the variance of the targets."""
        return float(self.target_ND.var(0, correction=0).mean())

    def batch(self, index_B: Tensor) -> Batch:
        """Some of the samples.

        Shapes:
            index_B: [B]
        """
        return Batch(self.source_ND[index_B], self.target_ND[index_B])


@dataclass(frozen=True)
class Batch:
    """The samples of one forward pass.

    The trainer reads ``source_BD`` and ``target_BD``. The other fields are carried along for
    samplers and callbacks of one's own; they change nothing by themselves.

    Attributes:
        source_BD: embeddings that enter the cube.
        target_BD: embeddings that should leave it.
        task: which task the samples belong to.
        teacher: which teacher embedded them.
        weight_B: weight of every sample.
        texts: target text of every sample.

    Shapes:
        source_BD, target_BD: [B, D]; weight_B: [B]
    """

    source_BD: Tensor
    target_BD: Tensor
    task: str | None = None
    teacher: str | None = None
    weight_B: Tensor | None = None
    texts: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.source_BD)

    def to(self, device: torch.device) -> Batch:
        """The same batch on ``device``."""
        weight_B = None if self.weight_B is None else self.weight_B.to(device)
        return replace(
            self,
            source_BD=self.source_BD.to(device),
            target_BD=self.target_BD.to(device),
            weight_B=weight_B,
        )


class Sampler:
    """Which samples an update sees: every epoch all of them once, in a new random order.

    The incomplete update at the end of an epoch is left out. The order depends on the seed and the
    epoch alone, so that a resumed run sees what it would have seen. A subclass may override
    :meth:`batches` and must keep to that.

    Args:
        pairs: to draw from.
        plan: batch size, accumulation and updates per epoch.
        seed: of the order.
    """

    def __init__(self, pairs: EmbeddingPairs, plan: TrainingPlan, seed: int) -> None:
        self.pairs = pairs
        self.plan = plan
        self.seed = seed
        self._ordered_epoch = -1
        self._order_N = torch.empty(0, dtype=torch.int64)

    def batches(self, update: int) -> Iterator[Batch]:
        """The ``accumulate`` batches of one update.

        Args:
            update: from 0 on.
        """
        for index_B in self.indices(update):
            yield self.pairs.batch(index_B)

    def indices(self, update: int) -> Iterator[Tensor]:
        """Sample numbers of the batches of one update; ``accumulate`` tensors [B].

        Args:
            update: from 0 on.
        """
        epoch, position = divmod(update, self.plan.updates_per_epoch)
        size, count = self.plan.settings.batch_size, self.plan.settings.accumulate
        order_N = self._order(epoch)
        for index in range(position * count, (position + 1) * count):
            yield order_N[index * size : (index + 1) * size]

    def _order(self, epoch: int) -> Tensor:
        if self._ordered_epoch != epoch:
            generator = torch.Generator().manual_seed(mixed_seed(self.seed, epoch))
            self._order_N = torch.randperm(len(self.pairs), generator=generator)
            self._ordered_epoch = epoch
        return self._order_N
