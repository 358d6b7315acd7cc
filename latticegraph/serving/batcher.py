"""Micro-batching without a timer: whenever the worker is free, it takes what is waiting.

All state belongs to the event loop; the worker is one thread that computes one batch at a time.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from latticegraph.errors import LatticeGraphError
from latticegraph.serving.metrics import ServeMetrics
from latticegraph.serving.refusals import DeadlineExceeded, ItemFailed, Overloaded, Unavailable

Work = TypeVar("Work")
Result = TypeVar("Result")
State = Literal["ready", "draining", "dead", "stalled"]
logger = logging.getLogger(__name__)

# What an input may cause: its own batch or item fails. Anything else is a fault of the program and
# ends the worker.
INPUT_ERRORS = (LatticeGraphError, RuntimeError, ValueError, ArithmeticError, MemoryError)


class _WorkerDiedError(RuntimeError):
    """What ends a thread, such as SystemExit, must not end the event loop."""


@dataclass(frozen=True)
class BatchLimits:
    """How much is taken at once and how much may wait.

    Args:
        batch_tokens: padded tokens of a batch: tokens of its longest item x number of items.
        batch_items: items of a batch.
        queue_tokens: tokens of all items that wait; what exceeds it is refused.
        stall_s: seconds after which a batch that is still computed counts as stalled.
    """

    batch_tokens: int = 16_384
    batch_items: int = 64
    queue_tokens: int = 131_072
    stall_s: float = 60.0


@dataclass(eq=False)
class _Entry(Generic[Work, Result]):
    work: Work
    tokens: int
    future: asyncio.Future[Result]
    since: float


class Batcher(Generic[Work, Result]):
    """Collects items of many requests into batches for one worker thread.

    Args:
        run: computes a batch, in the worker thread; gives one result, or one exception, per item.
            Where it raises one of :data:`INPUT_ERRORS`, every item is computed again alone; any
            other ends the worker.
        limits: see :class:`BatchLimits`.
        metrics: told what happens.
    """

    def __init__(
        self,
        run: Callable[[list[Work]], Sequence[Result | Exception]],
        limits: BatchLimits,
        metrics: ServeMetrics,
    ) -> None:
        self.limits = limits
        self.queued_tokens = 0
        self._run, self._metrics = run, metrics
        self._queue: OrderedDict[int, _Entry[Work, Result]] = OrderedDict()
        self._running: list[_Entry[Work, Result]] = []
        self._running_since = math.inf
        self._tokens_per_s = 0.0
        self._draining = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the worker; call it inside the event loop."""
        self._wake = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="latticegraph-worker")
        self._task = asyncio.create_task(self._work())
        self._task.add_done_callback(self._ended)

    @property
    def state(self) -> State:
        """Whether work is accepted, and if not, why."""
        if self._draining:
            return "draining"
        if self._task is None or self._task.done():
            return "dead"
        return (
            "stalled" if time.monotonic() - self._running_since > self.limits.stall_s else "ready"
        )

    async def submit(
        self, works: Sequence[Work], tokens: Sequence[int], timeout_s: float
    ) -> list[Result]:
        """The results of all items of one request, in order.

        Args:
            works: at least one item.
            tokens: of each item, at least 1.
            timeout_s: seconds until the caller gives up.

        Raises:
            Overloaded: the items do not fit into the queue beside what waits there.
            Unavailable: the worker is dead, or the server stops.
            DeadlineExceeded: after ``timeout_s``.
            ItemFailed: an item cannot be computed.
        """
        if self.state in ("draining", "dead"):
            raise Unavailable(f"the server is {self.state}")
        if self.queued_tokens + sum(tokens) > self.limits.queue_tokens:
            seconds = self.queued_tokens / self._tokens_per_s if self._tokens_per_s else 1.0
            raise Overloaded(max(1, math.ceil(seconds)))
        loop, now = asyncio.get_running_loop(), time.monotonic()
        entries: list[_Entry[Work, Result]] = [
            _Entry(work, count, loop.create_future(), now)
            for work, count in zip(works, tokens, strict=True)
        ]
        self._queue.update((id(entry), entry) for entry in entries)
        self._count(sum(tokens))
        self._wake.set()
        reason = "gone"
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.wait([e.future for e in entries], return_when="FIRST_EXCEPTION")
        except TimeoutError:
            reason = "expired"
            raise DeadlineExceeded("not finished before the deadline") from None
        else:
            return _results([entry.future for entry in entries])
        finally:
            self._drop(entries, reason)

    async def drain(self) -> None:
        """Accept nothing more, finish what was accepted, and stop the worker."""
        self._draining = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        self._pool.shutdown()

    def _drop(self, entries: list[_Entry[Work, Result]], reason: str) -> None:
        """Nobody waits for these any more: what has no result yet is not computed."""
        for entry in entries:
            if not entry.future.done():
                entry.future.cancel()
                self._metrics.dropped.labels(reason).inc()
            elif not entry.future.cancelled():
                entry.future.exception()  # asked for, so that asyncio does not complain
            if self._queue.pop(id(entry), None) is not None:
                self._count(-entry.tokens)

    def _count(self, tokens: int) -> None:
        self.queued_tokens += tokens
        self._metrics.queued_tokens.set(self.queued_tokens)

    def _take(self) -> list[_Entry[Work, Result]]:
        """The oldest items that fit into a batch; one where even the first does not."""
        batch: list[_Entry[Work, Result]] = []
        longest = 0
        while self._queue and len(batch) < self.limits.batch_items:
            key, entry = next(iter(self._queue.items()))
            longest = max(longest, entry.tokens)
            if batch and longest * (len(batch) + 1) > self.limits.batch_tokens:
                break
            del self._queue[key]
            self._count(-entry.tokens)
            batch.append(entry)
        return batch

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._queue:
                if self._draining:
                    return
                self._wake.clear()
                await self._wake.wait()
            self._running = self._take()
            start = self._running_since = time.monotonic()
            works = [entry.work for entry in self._running]
            outcomes = await loop.run_in_executor(self._pool, self._compute, works)
            seconds, self._running_since = time.monotonic() - start, math.inf
            for entry, outcome in zip(self._running, outcomes, strict=True):
                if entry.future.done():
                    continue
                if isinstance(outcome, Exception):
                    entry.future.set_exception(outcome)
                else:
                    entry.future.set_result(outcome)
            self._tell(self._running, start, seconds)
            self._running = []

    def _tell(self, batch: list[_Entry[Work, Result]], start: float, seconds: float) -> None:
        tokens = [entry.tokens for entry in batch]
        rate = sum(tokens) / max(seconds, 1e-6)
        self._tokens_per_s += (rate - self._tokens_per_s) * (0.2 if self._tokens_per_s else 1.0)
        waits = [start - entry.since for entry in batch]
        self._metrics.batch(len(batch), max(tokens) * len(batch), seconds, waits)

    def _compute(self, works: list[Work]) -> list[Result | Exception]:
        """In the worker thread."""
        try:
            results = list(self._run(works))
            if len(results) != len(works):
                raise RuntimeError(f"expected {len(works)} results, got {len(results)}")
        except INPUT_ERRORS as error:
            if len(works) == 1:
                return [error]
            logger.warning("a batch of %d items failed and is computed item by item", len(works))
            self._metrics.retried.inc()
            return [self._compute([work])[0] for work in works]
        except BaseException as error:
            raise _WorkerDiedError(repr(error)) from error
        return results

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The worker has stopped; unless it was asked to, all that waits fails."""
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.critical("the worker is dead", exc_info=error)
        for entry in [*self._running, *self._queue.values()]:
            if not entry.future.done():
                entry.future.set_exception(Unavailable("the worker is dead"))


def _results(futures: list[asyncio.Future[Result]]) -> list[Result]:
    """All results, or the first error among what is done."""
    for index, future in enumerate(futures):
        error = future.exception() if future.done() else None
        if isinstance(error, Unavailable):
            raise error
        if error is not None:
            raise ItemFailed(index) from error
    return [future.result() for future in futures]
