"""Exchange of tensors with the processes of the previous and the next rank."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from latticegraph.distributed.processes import Processes


def swap(to_before: Tensor, to_after: Tensor, processes: Processes) -> tuple[Tensor, Tensor]:
    """Send one tensor each way, and receive what the two neighbours send here.

    The first process has none before it and the last none after it: what they would send there
    stays, and what they would receive from there is empty along the first axis. Calling it once
    more with gradients of what was received gives the gradients of what was sent.

    Args:
        to_before: for the process before this one.
        to_after: for the process after it; of the same shape everywhere, as ``to_before``.
        processes: of the run.

    Returns:
        What the process before this one sent, and what the process after it sent.
    """
    rank, last = processes.rank, processes.size - 1
    from_before = torch.empty_like(to_after, memory_format=torch.contiguous_format)
    from_after = torch.empty_like(to_before, memory_format=torch.contiguous_format)
    operations = []
    if rank > 0:
        operations.append(dist.P2POp(dist.isend, to_before.contiguous(), rank - 1))
        operations.append(dist.P2POp(dist.irecv, from_before, rank - 1))
    if rank < last:
        operations.append(dist.P2POp(dist.isend, to_after.contiguous(), rank + 1))
        operations.append(dist.P2POp(dist.irecv, from_after, rank + 1))
    if operations:
        for request in dist.batch_isend_irecv(operations):
            request.wait()
    return from_before if rank > 0 else from_before[:0], from_after if rank < last else from_after[
        :0
    ]
