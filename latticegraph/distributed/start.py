"""Joins the process group started by torchrun, and ends it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

# Imported later, when there is a group, its default arguments would keep the group and its threads
# until the interpreter ends, and a thread that then lets go of a tensor aborts the process.
import torch.distributed.nn
from torch.distributed.rendezvous import rendezvous

from latticegraph.distributed.processes import ALONE, Processes
from latticegraph.errors import ConfigError

# Others wait while the writer embeds text or makes the report. A process that dies is noticed at
# once, by its closed connection, whatever the limit.
PATIENCE = timedelta(days=1)
_FAILED = "latticegraph/failed"


class AnotherFailed(RuntimeError):  # noqa: N818
    """This process stops because another one failed; that one reports the error."""


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes of the run, from the variables torchrun sets; otherwise this one alone.

    Tensors on the CPU travel over gloo, those on a GPU over nccl. At the end every process waits
    for the others. After an error none does: the first to fail raises it, the others, whose
    connections break, raise :class:`AnotherFailed`.

    Raises:
        ConfigError: a variable is missing or is no number.
        AnotherFailed: another process failed first.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield ALONE
        return
    processes = Processes(_number("RANK"), _number("WORLD_SIZE"), _number("LOCAL_RANK"))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
    dist.init_process_group(
        backend, store=store, rank=processes.rank, world_size=processes.size, timeout=PATIENCE
    )
    try:
        yield processes
        processes.barrier()
    except BaseException as error:
        if store.add(_FAILED, 1) > 1:
            raise AnotherFailed from error
        raise
    dist.destroy_process_group()


def _number(name: str) -> int:
    value = os.environ.get(name)
    if value is None or not value.isdecimal():
        raise ConfigError(
            name,
            f"expected a number in this environment variable, as WORLD_SIZE is set, got {value!r}",
            "Start several processes with torchrun, or unset WORLD_SIZE for a single one",
        )
    return int(value)
