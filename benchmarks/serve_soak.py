"""Good and bad clients of a server at once, for some time."""

from __future__ import annotations

import asyncio
import collections
import random
import statistics
import time
from typing import Any

from serve_client import ROUTE, Client, Expected, Server, embeddings_body

BURST, BURST_EVERY_S = 64, 5.0
MALFORMED = (b"{", b"[]", b'{"input": 5}', b"\xff\x00", b'{"input": "a", "model": "x", "y": 1}')


class Soak:
    """Good and bad clients at once; counts every answer."""

    def __init__(self, server: Server, expected: Expected, seconds: float) -> None:
        self.server, self.expected = server, expected
        self.end = time.perf_counter() + seconds
        self.answers: collections.Counter[str] = collections.Counter()
        self.faults: list[str] = []
        self.rss: list[float] = []

    async def run(self) -> dict[str, Any]:
        """Run all clients until the end."""
        good = [self._good(number) for number in range(6)]
        bad = [self._leaving(1), self._leaving(2), self._malformed(), self._oversized()]
        await asyncio.gather(*good, *bad, self._bursts(), self._watch())
        quarter = max(1, len(self.rss) // 4)
        first, last = self.rss[quarter : 2 * quarter], self.rss[-quarter:]
        growth = statistics.mean(last) / statistics.mean(first) - 1 if first else 0.0
        return {
            "answers": dict(sorted(self.answers.items())),
            "faults": self.faults[:20],
            "rss_mb": {"second_quarter": statistics.mean(first or [0]), "last": self.rss[-1]},
            "rss_growth": growth,
            "metrics": await metrics(self.server),
        }

    async def _send(self, client: Client, texts: list[str], may_be_full: bool) -> None:
        try:
            body = embeddings_body(self.server.name, texts)
            status, headers, content = await client.ask(ROUTE, body)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            self.faults.append(f"no answer: {error!r}")
            return
        self.answers[f"{'burst' if may_be_full else 'good'} {status}"] += 1
        if status == 200:
            if not self.expected.is_right(texts, content):
                self.faults.append(f"wrong rows for {texts}")
        elif status != 429 or "retry-after" not in headers:
            self.faults.append(f"status {status}: {content[:200]!r}")

    async def _good(self, number: int) -> None:
        client, draw = Client(self.server.port), random.Random(number)
        while time.perf_counter() < self.end:
            count = draw.choice((1, 1, 2, 5))
            await self._send(client, draw.sample(self.expected.texts, count), may_be_full=False)
        client.close()

    async def _leaving(self, number: int) -> None:
        client, draw = Client(self.server.port), random.Random(number)
        while time.perf_counter() < self.end:
            texts = draw.sample(self.expected.texts, 8)
            body = embeddings_body(self.server.name, texts)
            await client.send_and_leave(ROUTE, body, draw.uniform(0.0, 0.1))
            self.answers["left"] += 1
            await asyncio.sleep(0.1)

    async def _malformed(self) -> None:
        await self._refused("malformed", 400, [(body, None) for body in MALFORMED])

    async def _oversized(self) -> None:
        await self._refused("oversized", 413, [(b" " * 65_536, 3_000_000)])

    async def _refused(
        self, kind: str, wanted: int, bodies: list[tuple[bytes, int | None]]
    ) -> None:
        client, turn = Client(self.server.port), 0
        while time.perf_counter() < self.end:
            body, announced = bodies[turn % len(bodies)]
            status, _, _ = await client.ask(ROUTE, body, announced)
            self.answers[f"{kind} {status}"] += 1
            if status != wanted:
                self.faults.append(f"{kind}: expected {wanted}, got {status}")
            turn += 1
            await asyncio.sleep(0.05)
        client.close()

    async def _bursts(self) -> None:
        draw = random.Random(9)
        while time.perf_counter() + BURST_EVERY_S < self.end:
            await asyncio.sleep(BURST_EVERY_S)
            clients = [Client(self.server.port) for _ in range(BURST)]
            await asyncio.gather(
                *(
                    self._send(client, draw.sample(self.expected.texts, 32), may_be_full=True)
                    for client in clients
                )
            )
            for client in clients:
                client.close()

    async def _watch(self) -> None:
        while time.perf_counter() < self.end:
            self.rss.append(self.server.rss_mb())
            await asyncio.sleep(0.5)


async def metrics(server: Server) -> dict[str, float]:
    """The server's own counts of what it dropped and answered."""
    _, _, content = await Client(server.port).ask("/metrics")
    wanted = ("latticegraph_requests_total", "latticegraph_dropped_total", "latticegraph_retried")
    lines = [line.rpartition(" ") for line in content.decode().splitlines()]
    return {
        name: float(value)
        for name, _, value in lines
        if name.startswith(wanted) and not name.endswith("_created")
    }
