"""The queue and its worker, with work that takes as long as the test wants."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from latticegraph.serving.batcher import Batcher, BatchLimits
from latticegraph.serving.metrics import ServeMetrics
from latticegraph.serving.refusals import DeadlineExceeded, ItemFailed, Overloaded, Unavailable


class Worker:
    """Doubles numbers; waits where ``gate`` is closed, and fails for numbers in ``bad``."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.bad: dict[int, BaseException] = {}

    def run(self, works: list[int]) -> list[int | Exception]:
        self.batches.append(list(works))
        assert self.gate.wait(10)
        for work in works:
            if work in self.bad:
                raise self.bad[work]
        return [2 * work for work in works]


def drive(
    test: Callable[[Batcher[int, int], Worker, ServeMetrics], Awaitable[None]],
    limits: BatchLimits | None = None,
) -> None:
    """Run a test in an event loop, with a batcher that is drained at the end."""

    async def main() -> None:
        worker, metrics = Worker(), ServeMetrics()
        batcher: Batcher[int, int] = Batcher(worker.run, limits or BatchLimits(), metrics)
        batcher.start()
        try:
            async with asyncio.timeout(20):
                await test(batcher, worker, metrics)
        finally:
            worker.gate.set()
            await batcher.drain()

    asyncio.run(main())


def value(metrics: ServeMetrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"latticegraph_{name}", labels) or 0.0


async def submit(batcher, works, tokens=None, timeout_s=10.0):
    return await batcher.submit(works, tokens or [1] * len(works), timeout_s)


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def hold(batcher, worker) -> asyncio.Task:
    """Occupy the worker with item 0 until the gate opens."""
    worker.gate.clear()
    task = asyncio.create_task(submit(batcher, [0]))
    await until(lambda: worker.batches == [[0]])
    return task


def test_an_idle_worker_starts_at_once_and_alone():
    async def test(batcher, worker, metrics):
        start = time.perf_counter()
        assert await submit(batcher, [3]) == [6]
        assert time.perf_counter() - start < 0.5
        assert worker.batches == [[3]]

    drive(test)


def test_what_waits_is_taken_together_in_order():
    async def test(batcher, worker, metrics):
        first = await hold(batcher, worker)
        others = [asyncio.create_task(submit(batcher, [i, 10 * i])) for i in (1, 2, 3)]
        await until(lambda: batcher.queued_tokens == 6)
        worker.gate.set()
        assert await asyncio.gather(*others) == [[2, 20], [4, 40], [6, 60]]
        assert await first == [0]
        assert worker.batches == [[0], [1, 10, 2, 20, 3, 30]]
        assert value(metrics, "batch_items_count") == 2
        assert value(metrics, "batch_items_sum") == 7

    drive(test)


def test_a_batch_has_at_most_its_budget_of_padded_tokens():
    async def test(batcher, worker, metrics):
        first = await hold(batcher, worker)
        # 2 x 4 = 8 fits, 3 x 4 = 12 does not; then 5 x 2 = 10 fits and 5 x 3 does not.
        task = asyncio.create_task(submit(batcher, [1, 2, 3, 4, 5], [4, 1, 5, 1, 1]))
        await until(lambda: batcher.queued_tokens == 12)
        worker.gate.set()
        assert await task == [2, 4, 6, 8, 10]
        await first
        assert worker.batches == [[0], [1, 2], [3, 4], [5]]

    drive(test, BatchLimits(batch_tokens=10))


def test_a_batch_has_at_most_its_number_of_items():
    async def test(batcher, worker, metrics):
        assert await submit(batcher, list(range(7))) == [2 * i for i in range(7)]
        assert worker.batches == [[0, 1, 2], [3, 4, 5], [6]]

    drive(test, BatchLimits(batch_items=3))


@pytest.mark.parametrize("items", [1, 4], ids=["single", "list"])
def test_a_full_queue_refuses_by_tokens_whatever_their_number_of_items(items):
    async def test(batcher, worker, metrics):
        first = await hold(batcher, worker)
        waiting = asyncio.create_task(submit(batcher, [1], [90]))
        await until(lambda: batcher.queued_tokens == 90)
        with pytest.raises(Overloaded) as caught:
            await submit(batcher, [2] * items, [12 // items] * items)
        assert caught.value.retry_after >= 1
        fits = asyncio.create_task(submit(batcher, [3] * items, [8 // items] * items))
        await until(lambda: batcher.queued_tokens == 98)
        worker.gate.set()
        assert await fits == [6] * items
        assert await waiting == [2]
        await first
        assert [2] not in worker.batches

    drive(test, BatchLimits(queue_tokens=100))


def test_one_bad_item_fails_alone_and_says_which_it_was():
    async def test(batcher, worker, metrics):
        worker.bad[5] = ValueError("five")
        first = await hold(batcher, worker)
        good = asyncio.create_task(submit(batcher, [1, 2]))
        mixed = asyncio.create_task(submit(batcher, [4, 5, 6]))
        await until(lambda: batcher.queued_tokens == 5)
        worker.gate.set()
        assert await good == [2, 4]
        with pytest.raises(ItemFailed) as caught:
            await mixed
        assert caught.value.index == 1
        assert str(caught.value.__cause__) == "five"
        await first
        assert worker.batches[1:] == [[1, 2, 4, 5, 6], [1], [2], [4], [5], [6]]
        assert value(metrics, "retried_batches_total") == 1
        assert await submit(batcher, [7]) == [14]

    drive(test)


def test_an_item_that_has_an_exception_for_a_result_is_not_computed_again():
    async def test(batcher, worker, metrics):
        batcher._run = lambda works: [KeyError("one") if work == 1 else work for work in works]
        with pytest.raises(ItemFailed) as caught:
            await submit(batcher, [0, 1])
        assert caught.value.index == 1
        assert value(metrics, "retried_batches_total") == 0

    drive(test)


def test_results_of_another_number_are_an_error():
    async def test(batcher, worker, metrics):
        batcher._run = lambda works: [1, 2]
        with pytest.raises(ItemFailed) as caught:
            await submit(batcher, [0])
        assert "expected 1 results, got 2" in str(caught.value.__cause__)

    drive(test)


def test_work_past_its_deadline_is_dropped_and_never_computed():
    async def test(batcher, worker, metrics):
        first = await hold(batcher, worker)
        with pytest.raises(DeadlineExceeded):
            await submit(batcher, [8, 9], timeout_s=0.05)
        assert batcher.queued_tokens == 0
        assert value(metrics, "dropped_total", reason="expired") == 2
        worker.gate.set()
        await first
        assert worker.batches == [[0]]

    drive(test)


def test_a_caller_gets_its_deadline_while_its_own_batch_is_computed():
    async def test(batcher, worker, metrics):
        worker.gate.clear()
        with pytest.raises(DeadlineExceeded):
            await submit(batcher, [1], timeout_s=0.05)
        worker.gate.set()
        assert await submit(batcher, [2]) == [4]

    drive(test)


def test_entries_of_gone_clients_are_dropped_and_counted():
    async def test(batcher, worker, metrics):
        first = await hold(batcher, worker)
        gone = asyncio.create_task(submit(batcher, [5, 6, 7]))
        stays = asyncio.create_task(submit(batcher, [1]))
        await until(lambda: batcher.queued_tokens == 4)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert batcher.queued_tokens == 1
        worker.gate.set()
        assert await stays == [2]
        await first
        assert worker.batches == [[0], [1]]
        assert value(metrics, "dropped_total", reason="gone") == 3

    drive(test)


def test_drain_answers_what_was_accepted_and_accepts_nothing_more():
    async def test(batcher, worker, metrics):
        first = await hold(batcher, worker)
        waiting = asyncio.create_task(submit(batcher, [1, 2]))
        await until(lambda: batcher.queued_tokens == 2)
        drained = asyncio.create_task(batcher.drain())
        await asyncio.sleep(0.02)
        assert not drained.done()
        assert batcher.state == "draining"
        with pytest.raises(Unavailable, match="draining"):
            await submit(batcher, [3])
        worker.gate.set()
        await drained
        assert (await first, await waiting) == ([0], [2, 4])

    drive(test)


@pytest.mark.parametrize("fault", [SystemExit, KeyError, TypeError])
def test_a_dead_worker_fails_what_waits_and_refuses_the_rest(fault, caplog):
    """A fault of the program is no fault of an item: nothing is tried again."""

    async def test(batcher, worker, metrics):
        worker.bad[0] = fault("killed")
        first = await hold(batcher, worker)
        waiting = asyncio.create_task(submit(batcher, [1]))
        await until(lambda: batcher.queued_tokens == 1)
        assert batcher.state == "ready"
        worker.gate.set()
        for task in (first, waiting):
            with pytest.raises(Unavailable, match="the worker is dead"):
                await task
        assert batcher.state == "dead"
        assert batcher.queued_tokens == 0
        with pytest.raises(Unavailable, match="dead"):
            await submit(batcher, [2])

    drive(test)
    assert "the worker is dead" in caplog.text


def test_a_batch_that_takes_too_long_counts_as_stalled_until_it_ends():
    async def test(batcher, worker, metrics):
        first = await hold(batcher, worker)
        await until(lambda: batcher.state == "stalled")
        worker.gate.set()
        await first
        assert batcher.state == "ready"

    drive(test, BatchLimits(stall_s=0.02))
