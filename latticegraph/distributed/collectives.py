"""Sums and rows across processes, each with its true adjoint.

Let every process compute its own scalar. Then ``backward`` through these functions gives each
process the gradient of the SUM of all these scalars with respect to its own tensors. Where all of
them compute the same scalar, that is ``size`` times the gradient: divide the scalar by ``size``
first.

The forward and the backward pass must reach the same collectives in the same order in every
process, which holds where all build the same graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import pad

from latticegraph.distributed.processes import Processes


class _AllSum(torch.autograd.Function):
    """``y_r = sum over s of x_s`` for every r; so ``dx_s = sum over r of dy_r``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _sum(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _sum(grads[0])


class _AllGather(torch.autograd.Function):
    """``y_r = (x_0, x_1, ...)`` for every r; so ``dx_s = sum over r of dy_r``, part s."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, sizes: list[int], rank: int) -> Tensor:
        ctx.dim, ctx.start, ctx.length = dim, sum(sizes[:rank]), sizes[rank]
        longest = max(sizes)
        # Equal shapes are what every backend can gather.
        own = pad(x.transpose(0, dim), (0, 0) * (x.ndim - 1) + (0, longest - sizes[rank]))
        parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in sizes]
        dist.all_gather(parts, own.contiguous())
        kept = [part[:size] for part, size in zip(parts, sizes, strict=True)]
        return torch.cat(kept).transpose(0, dim).contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        return _sum(grads[0]).narrow(ctx.dim, ctx.start, ctx.length), None, None, None


_all_sum: Callable[[Tensor], Tensor] = _AllSum.apply
_all_gather: Callable[[Tensor, int, list[int], int], Tensor] = _AllGather.apply


def all_sum(x: Tensor, processes: Processes) -> Tensor:
    """The sum of the tensors of all processes, in every process.

    Args:
        x: of the same shape everywhere.
        processes: of the run; alone, ``x`` itself comes back.
    """
    return x if processes.size == 1 else _all_sum(x)


def all_gather(
    x: Tensor, processes: Processes, dim: int = 0, sizes: Sequence[int] | None = None
) -> Tensor:
    """The tensors of all processes side by side, by rank, in every process.

    Args:
        x: equal shapes everywhere but for the size of ``dim``.
        processes: of the run; alone, ``x`` itself comes back.
        dim: along which they are joined, 0 or more.
        sizes: size of ``dim`` in each process; None: the same everywhere.
    """
    if processes.size == 1:
        return x
    lengths = [x.shape[dim]] * processes.size if sizes is None else list(sizes)
    assert lengths[processes.rank] == x.shape[dim], "sizes that are not those of the tensors"
    return _all_gather(x, dim, lengths, processes.rank)


@torch.no_grad()
def sum_in_place(tensors: Iterable[Tensor], processes: Processes) -> None:
    """Replace tensors by their sums over all processes, in one message.

    Args:
        tensors: the same number, shapes and type in every process; for instance gradients.
        processes: of the run.
    """
    if processes.size == 1:
        return
    chosen = list(tensors)
    bucket = torch.cat([tensor.reshape(-1) for tensor in chosen])
    dist.all_reduce(bucket)
    parts = bucket.split([tensor.numel() for tensor in chosen])
    for tensor, part in zip(chosen, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


@torch.no_grad()
def copy_from_writer(tensors: Iterable[Tensor], processes: Processes) -> None:
    """Overwrite tensors by those of the writer.

    Args:
        tensors: the same number, shapes and types in every process.
        processes: of the run.
    """
    if processes.size == 1:
        return
    for tensor in tensors:
        whole = tensor.contiguous()
        dist.broadcast(whole, src=0)
        tensor.copy_(whole)


def _sum(x: Tensor) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total
