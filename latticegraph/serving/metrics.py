"""What a server counts, for Prometheus; every server has a registry of its own."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (16, 64, 256, 1024, 4096, 16_384, 65_536)


class ServeMetrics:
    """Counters, a gauge and histograms; all names begin with ``latticegraph_``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self._counter("requests", "Answered requests.", "route", "status")
        self.tokens = self._counter("tokens", "Tokens of accepted texts that the teacher reads.")
        self.dropped = self._counter(
            "dropped", "Items that nobody waited for any more: gone or expired.", "reason"
        )
        self.retried = self._counter("retried_batches", "Batches computed again item by item.")
        self.queued_tokens = Gauge(
            "latticegraph_queued_tokens", "Tokens of the items that wait.", registry=self.registry
        )
        self.seconds = self._histogram(
            "request_seconds", "From the head of a request to its answer.", _SECONDS, "route"
        )
        self._queue_seconds = self._histogram("queue_seconds", "Wait of an item.", _SECONDS)
        self._batch_seconds = self._histogram("batch_seconds", "Time of a batch.", _SECONDS)
        self._batch_items = self._histogram("batch_items", "Items of a batch.", _ITEMS)
        self._batch_tokens = self._histogram(
            "batch_padded_tokens", "Longest item of a batch x its items.", _TOKENS
        )

    def batch(self, items: int, padded: int, seconds: float, waits: Sequence[float]) -> None:
        """Tell of a finished batch.

        Args:
            items: in it.
            padded: tokens of the longest item x ``items``.
            seconds: that the worker took.
            waits: seconds that each item had waited.
        """
        self._batch_items.observe(items)
        self._batch_tokens.observe(padded)
        self._batch_seconds.observe(seconds)
        for wait in waits:
            self._queue_seconds.observe(wait)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"latticegraph_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(
            f"latticegraph_{name}", text, labels, buckets=buckets, registry=self.registry
        )
