"""Runs with several processes: ranks, and differentiable collectives."""

from latticegraph.distributed.collectives import (
    all_gather,
    all_sum,
    copy_from_writer,
    sum_in_place,
)
from latticegraph.distributed.processes import ALONE, Processes
from latticegraph.distributed.start import AnotherFailed, joined

__all__ = [
    "ALONE",
    "AnotherFailed",
    "Processes",
    "all_gather",
    "all_sum",
    "copy_from_writer",
    "joined",
    "sum_in_place",
]
