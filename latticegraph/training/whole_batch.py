"""The student's output for a batch whose rows are divided among processes.

Legend: B batch, D teacher width, N cells, X experts, T steps.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import pad

from latticegraph.distributed import Processes, all_gather, all_sum
from latticegraph.dynamics.gating import balance
from latticegraph.losses import CombinedLoss, SpatialLoss
from latticegraph.model import Student, StudentOutput


def run_whole_batch(student: Student, source_BD: Tensor, processes: Processes) -> StudentOutput:
    """Run the own rows and put the small outputs of all processes together.

    The result is that of one process with the whole batch, up to rounding, but for ``surface_BS``
    and ``states_CNB``, which stay those of the own rows. So every process computes the loss of the
    whole batch, whatever its terms compare. Divide that loss by the number of processes, and sum
    the gradients of the weights over processes.

    Args:
        student: the same weights in every process.
        source_BD: the whole batch, the same in every process; where each holds a slab of the cube
            all of them run all rows.
        processes: of the run; a batch with fewer rows than processes is run by each of them.
    """
    batch = len(source_BD)
    if processes.size == 1 or not student.dynamics.cells.is_whole or batch < processes.size:
        output: StudentOutput = student(source_BD)
        return output
    own: StudentOutput = student(source_BD[processes.own(batch)])
    sizes = processes.shares(batch)
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
    )


def sum_over_processes(loss: CombinedLoss, processes: Processes) -> None:
    """Let the terms that read the states of the own rows add up over processes."""
    for term in loss.terms.values():
        if isinstance(term, SpatialLoss):
            term.reduce = partial(all_sum, processes=processes)
