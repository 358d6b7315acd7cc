"""A server in a process of its own on 127.0.0.1, and a client that costs little."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROUTE = "/v1/embeddings"


@dataclass
class Server:
    """A running server.

    Attributes:
        process: its process.
        port: on 127.0.0.1.
        name: of its model.
        said: lines of its log.
    """

    process: subprocess.Popen[str]
    port: int = 0
    name: str = ""
    said: list[str] = field(default_factory=list)

    def rss_mb(self) -> float:
        """Resident memory in MB (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1e3  # type: ignore[index]

    def terminate(self) -> int:
        """Send SIGTERM and wait for the end; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def started(model: str, trust: Sequence[str], *options: str) -> Iterator[Server]:
    """A server on a free port; killed at the end where it still runs."""
    words = [sys.executable, "-m", "latticegraph", "serve", "--model", model, "--port", "0"]
    words += [*options, *(["--trust", *trust] if trust else [])]
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8"
    )
    assert process.stderr is not None
    server = Server(process)
    try:
        for line in process.stderr:
            server.said.append(line)
            if found := re.search(r"serving (\S+) on http://127\.0\.0\.1:(\d+)", line):
                server.name, server.port = found[1], int(found[2])
                break
        else:
            raise SystemExit("the server did not start: " + "".join(server.said))
        # A pipe that nobody reads would stop the server once it is full.
        threading.Thread(
            target=lambda: server.said.extend(process.stderr or ()), daemon=True
        ).start()
        yield server
    finally:
        process.kill()
        process.wait()


class Client:
    """One connection that is kept open, one request at a time."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, path: str, body: bytes | None = None, announced: int | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the one answer to one request.

        Args:
            path: of the route.
            body: for POST; None for GET.
            announced: length in the head, where it is not that of ``body``.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        try:
            writer.write(request(path, body, announced))
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            content = await reader.readexactly(int(headers["content-length"]))
        except BaseException:
            self.close()
            raise
        if headers.get("connection") == "close" or announced is not None:
            self.close()
        return int(head[0].split()[1]), headers, content

    async def send_and_leave(self, path: str, body: bytes, seconds: float) -> None:
        """Send a request and close the connection before, or while, it is answered."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request(path, body))
        await asyncio.sleep(seconds)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def request(path: str, body: bytes | None, announced: int | None = None) -> bytes:
    """A request of HTTP/1.1."""
    if body is None:
        return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    length = len(body) if announced is None else announced
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {length}\r\n\r\n".encode() + body


def embeddings_body(name: str, texts: Sequence[str]) -> bytes:
    """The body of a request for embeddings in base64."""
    tree = {"model": name, "input": list(texts), "encoding_format": "base64"}
    return json.dumps(tree).encode()


def vectors(content: bytes) -> Any:
    """The rows of an answer, float32."""
    data = json.loads(content)["data"]
    return np.array([np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in data])


class Expected:
    """What the server must answer, from the model itself."""

    def __init__(self, model: str, trust: list[str], texts: list[str]) -> None:
        from latticegraph.hub import LatticeModel
        from latticegraph.serving.engine import ROWS

        assert len(texts) % ROWS == 0
        rows = LatticeModel.from_pretrained(model, trust).encode(texts, batch_size=ROWS)
        self.texts = texts
        self._row_of = dict(zip(texts, rows, strict=True))

    def is_right(self, texts: list[str], content: bytes) -> bool:
        """Whether an answer holds the rows of these texts, bit for bit."""
        return bool(np.array_equal(vectors(content), [self._row_of[text] for text in texts]))
