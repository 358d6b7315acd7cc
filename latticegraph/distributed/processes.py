"""The processes of one run and the values they share."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

Result = TypeVar("Result")


@dataclass(frozen=True)
class Processes:
    """This process among those of the run; alone by default, where every method costs nothing.

    Methods that wait for the others must be called by all of them, in the same order. They
    communicate on the CPU and never wait for a GPU.

    Attributes:
        rank: number of this process, 0 to size - 1.
        size: processes in the run, on all machines.
        local_rank: number of this process on its machine, which is also that of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_writer(self) -> bool:
        """Whether this process writes the files and prints messages."""
        return self.rank == 0

    def shares(self, count: int) -> list[int]:
        """How ``count`` things in a row are divided: sizes by rank, which differ by 1 at most."""
        return [
            count * (rank + 1) // self.size - count * rank // self.size for rank in range(self.size)
        ]

    def own(self, count: int) -> slice:
        """Which of ``count`` things in a row belong to this process."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def barrier(self) -> None:
        """Wait until every process is here."""
        self.largest(0)

    def largest(self, number: int) -> int:
        """The largest of the numbers passed by the processes."""
        if self.size == 1:
            return number
        value = torch.tensor(number)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def any_of(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return self.largest(int(flag)) > 0

    def from_writer(self, value: Result) -> Result:
        """The value passed by the writer, in every process; exact for numbers.

        Args:
            value: anything JSON can hold; the values of the other processes are ignored.
        """
        if self.size == 1:
            return value
        text = json.dumps(value).encode("utf-8") if self.is_writer else b""
        length = self.largest(len(text))
        data = torch.tensor(list(text.ljust(length)), dtype=torch.uint8)
        dist.broadcast(data, src=0)
        result: Result = json.loads(bytes(data.tolist()).decode("utf-8"))
        return result

    def writer_first(self, make: Callable[[], Result]) -> Result:
        """Let the writer call ``make``, then all others: they find its files."""
        if not self.is_writer:
            self.barrier()
            return make()
        result = make()
        self.barrier()
        return result


ALONE = Processes()
"""The one process of an ordinary run."""
