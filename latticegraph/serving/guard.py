"""Before any route: key, size and time of a request, and whether anybody still waits for it.

Legend of ASGI: ``scope`` describes a request, ``receive`` and ``send`` exchange messages.
"""

from __future__ import annotations

import asyncio
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latticegraph.serving.errors import ApiError, overloaded
from latticegraph.serving.metrics import ServeMetrics
from latticegraph.serving.settings import ServeSettings

OPEN = ("/", "/page.css", "/page.js", "/health", "/ready", "/info", "/docs", "/openapi.json")
"""Routes that need no key."""

CLIENT_GONE = 499


class _Gone(Exception):  # noqa: N818
    """The client has closed the connection."""


class Guard:
    """Checks the key before the body is read, reads the body up to its limits, counts and times.

    A route whose client closes the connection is cancelled, and with it the work that waits.

    Args:
        app: what follows.
        settings: key and limits.
        metrics: told of every answer.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings, metrics: ServeMetrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self._key = settings.api_key.encode() if settings.api_key is not None else None
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            self._check_key(scope)
            if scope["method"] == "POST":
                await self._post(scope, receive, noting)
            else:
                await self.app(scope, receive, noting)
        except ApiError as error:
            await error.response()(scope, receive, noting)
        except _Gone:
            status = CLIENT_GONE
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - start)

    def _check_key(self, scope: Scope) -> None:
        if self._key is None or scope["path"] in OPEN:
            return
        sent = dict(scope["headers"]).get(b"authorization", b"")
        kind, _, key = sent.partition(b" ")
        if kind.lower() != b"bearer" or not secrets.compare_digest(key.strip(), self._key):
            raise ApiError(
                401,
                "expected the header 'Authorization: Bearer KEY' with the key of this server",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._active >= self.settings.max_requests:
            raise overloaded(1, f"{self._active} requests at once")
        self._active += 1
        try:
            end = time.monotonic() + self.settings.deadline
            scope.setdefault("state", {})["deadline"] = end
            try:
                async with asyncio.timeout(self.settings.deadline):
                    body = await self._body(scope, receive)
            except TimeoutError:
                raise ApiError(
                    408, f"expected the whole body within {self.settings.deadline:g} s"
                ) from None
            await self._while_connected(scope, body, receive, send)
        finally:
            self._active -= 1

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        limit = self.settings.max_body_bytes
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        body, more = bytearray(), True
        while more:
            if len(body) > limit or (announced.isdigit() and int(announced) > limit):
                # The rest stays unread, so the connection cannot be used again.
                raise ApiError(
                    413,
                    f"expected at most {limit:,} bytes",
                    code="request_too_large",
                    headers={"Connection": "close"},
                )
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            body += message.get("body", b"")
            more = message.get("more_body", False) or len(body) > limit
        return bytes(body)

    async def _while_connected(
        self, scope: Scope, body: bytes, receive: Receive, send: Send
    ) -> None:
        messages: list[Message] = [{"type": "http.request", "body": body}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        route = asyncio.ensure_future(self.app(scope, replay, send))
        watch = asyncio.ensure_future(gone())
        try:
            await asyncio.wait({route, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not route.done():
                raise _Gone
            route.result()
        finally:
            for task in (route, watch):
                task.cancel()
            await asyncio.wait({route, watch})
