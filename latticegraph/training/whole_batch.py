"""The output for a batch or a lattice that is divided among processes.

Legend: B batch, D teacher width, N cells, X experts, T steps.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from latticegraph.distributed import Processes, all_gather, all_sum
from latticegraph.dynamics.gating import balance
from latticegraph.model import Student, StudentOutput


def own_rows(student: Student, source_BD: Tensor, processes: Processes) -> Tensor:
    """The rows of a batch that this process runs.

    Args:
        student: where it holds a slab of the lattice, every process runs all rows.
        source_BD: the whole batch, the same in every process.
        processes: of the run; a batch with fewer rows than processes is run by each of them.
    """
    batch = len(source_BD)
    return source_BD[processes.own(batch)] if _divided(student, batch, processes) else source_BD


def whole_output(
    student: Student,
    own: StudentOutput,
    batch: int,
    processes: Processes,
    gathered: Collection[str] = (),
) -> StudentOutput:
    """The output for the whole batch and the whole lattice, from that of :func:`own_rows`.

    The result is that of one process, up to rounding, in every field but those of
    :data:`~latticegraph.losses.objective.GATHERED` that ``gathered`` does not name. So every
    process computes the loss of the whole batch, whatever its terms compare. Divide that loss by
    the number of processes, and sum the gradients of the weights over processes.

    Args:
        student: the same weights in every process.
        own: its output for the own rows.
        batch: rows of the whole batch.
        processes: of the run.
        gathered: fields to gather from all processes although they are large.
    """
    cells = student.dynamics.cells
    if not cells.is_whole and "states_CNB" in gathered:
        return replace(own, states_CNB=cells.gather(own.states_CNB, dim=1))
    if not _divided(student, batch, processes):
        return own
    sizes = processes.shares(batch)
    large = {
        name: all_gather(getattr(own, name), processes, dim=dim, sizes=sizes)
        for name, dim in (("code_BS", 0), ("surface_BS", 0), ("states_CNB", 2))
        if name in gathered
    }
    steps_B = all_gather(own.steps_B, processes, sizes=sizes)
    change_T = own.change_T
    if student.settings.dynamics.tolerance > 0:
        # Samples that have converged do not change: a rollout that ended early goes on with zeros.
        longest = processes.largest(change_T.numel())
        change_T = pad(change_T, (0, longest - change_T.numel()))
    share = len(own.steps_B) / batch
    # Means over steps and samples; without a lattice no step is taken and only samples count.
    taken = own.steps_B.sum().to(change_T.dtype) / steps_B.sum().clamp_min(1)
    taken = torch.where(steps_B.sum() > 0, taken, share)
    means = (own.usage_NX * taken, change_T * share, own.gate_z * taken)
    flat = all_sum(torch.cat([mean.reshape(-1) for mean in means]), processes)
    usage, change_T, gate_z = flat.split([mean.numel() for mean in means])
    usage_NX = usage.view_as(own.usage_NX)
    return replace(
        own,
        embedding_BD=all_gather(own.embedding_BD, processes, sizes=sizes),
        usage_NX=usage_NX,
        change_T=change_T,
        steps_B=steps_B,
        gate_balance=balance(usage_NX.t()),
        gate_z=gate_z.squeeze(0),
        **large,
    )


def _divided(student: Student, batch: int, processes: Processes) -> bool:
    """Whether each process runs a part of the rows."""
    return processes.size > 1 and student.dynamics.cells.is_whole and batch >= processes.size
