"""Limits of the server: sizes, queue, deadlines, keys, and its end."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from latticegraph.serving.engine import ROWS
from tests.serving.asking import refused, sample
from tests.serving.conftest import CODE, running

TEXTS = [f"text {i} of the {'sea' if i % 3 else 'hill'}" for i in range(2 * ROWS)]


class Gate:
    """Keeps the worker of an app inside its first batch until it is opened."""

    def __init__(self, app):
        self.entered, self.open = threading.Event(), threading.Event()
        batcher = app.state.service.batcher
        run = batcher._run

        def gated(jobs):
            self.entered.set()
            assert self.open.wait(20)
            return run(jobs)

        batcher._run = gated

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open.set()  # also where the test failed


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_requests_above_the_limits_get_413(make_app):
    with running(make_app(max_body_bytes=1024, max_inputs=3)) as url:
        fits = json.dumps({"input": "a"}).encode()
        fits += b" " * (1024 - len(fits))
        headers = {"content-type": "application/json"}
        assert httpx.post(f"{url}/encode", content=fits, headers=headers).status_code == 200
        answer = httpx.post(f"{url}/encode", content=fits + b" ", headers=headers)
        refused(answer, 413, None, "request_too_large")
        in_parts = httpx.post(f"{url}/encode", content=iter([fits, b" "]), headers=headers)
        refused(in_parts, 413, None, "request_too_large")
        answer = httpx.post(f"{url}/encode", json={"input": ["a"] * 4})
        assert "at most 3 inputs, got 4" in refused(answer, 413, "input", "too_many_inputs")
        answer = httpx.post(f"{url}/decode", json={"codes": [[0.0] * CODE] * 4})
        refused(answer, 413, "codes", "too_many_inputs")


def test_a_body_that_does_not_come_is_not_waited_for(make_app):
    with running(make_app(deadline=0.3)) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            head = b"POST /encode HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"
            connection.sendall(head)
            assert connection.recv(100).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("kind", ["single", "list"])
def test_a_full_queue_gives_429_with_the_time_to_wait(make_app, kind):
    app = make_app(max_inputs=5, max_queue_tokens=100)
    with running(app) as url, ThreadPoolExecutor(3) as pool, Gate(app) as gate:
        text = "w " * 20

        def ask(inputs):
            return httpx.post(f"{url}/encode", json={"input": inputs}, timeout=20)

        running_now = pool.submit(ask, "first")
        assert gate.entered.wait(10)
        waiting = pool.submit(ask, [text] * 4 + ["w " * 15])
        until(lambda: sample(app, "queued_tokens") == 95)
        answer = ask("w " * 6 if kind == "single" else ["w " * 3] * 2)
        refused(answer, 429, None, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        gate.open.set()
        assert waiting.result().status_code == running_now.result().status_code == 200


def test_too_many_requests_at_once_give_429(make_app):
    app = make_app(max_requests=1)
    with running(app) as url, ThreadPoolExecutor(1) as pool, Gate(app) as gate:
        first = pool.submit(httpx.post, f"{url}/encode", json={"input": "a"}, timeout=20)
        assert gate.entered.wait(10)
        answer = httpx.post(f"{url}/encode", json={"input": "b"})
        refused(answer, 429, None, "overloaded")
        assert answer.headers["retry-after"] == "1"
        assert httpx.get(f"{url}/ready").status_code == 200
        gate.open.set()
        assert first.result().status_code == 200
        assert httpx.post(f"{url}/encode", json={"input": "b"}).status_code == 200


def test_a_deadline_gives_504(make_app):
    app = make_app(deadline=0.2)
    with running(app) as url, Gate(app):
        answer = httpx.post(f"{url}/encode", json={"input": "a"})
        refused(answer, 504, None, "deadline_exceeded")


def test_a_client_that_leaves_frees_its_place_in_the_queue(make_app):
    app = make_app()
    with running(app) as url, ThreadPoolExecutor(1) as pool, Gate(app) as gate:
        first = pool.submit(httpx.post, f"{url}/encode", json={"input": "a"}, timeout=20)
        assert gate.entered.wait(10)
        body = json.dumps({"input": ["b", "c d"]}).encode()
        head = f"POST /encode HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        head += "Content-Type: application/json\r\n\r\n"
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(head.encode() + body)
            until(lambda: sample(app, "queued_tokens") == 3)
        until(lambda: sample(app, "queued_tokens") == 0)
        assert sample(app, "dropped_total", reason="gone") == 2
        until(lambda: sample(app, "requests_total", route="/encode", status="499") == 1)
        gate.open.set()
        assert first.result().status_code == 200


def test_a_dead_worker_turns_ready_to_503(make_app):
    app = make_app()

    def die(jobs):
        raise SystemExit

    app.state.service.batcher._run = die
    with running(app) as url:
        refused(httpx.post(f"{url}/encode", json={"input": "a"}), 503, None, "unavailable")
        answer = httpx.get(f"{url}/ready")
        assert (answer.status_code, answer.json()) == (503, {"status": "dead"})
        assert httpx.get(f"{url}/health").status_code == 200
        refused(httpx.post(f"{url}/encode", json={"input": "a"}), 503, None, "unavailable")


def test_a_defect_says_nothing_of_the_inside(make_app, caplog):
    app = make_app()

    def fail(jobs):
        raise RuntimeError("/secret/path")

    app.state.service.batcher._run = fail
    with running(app) as url:
        answer = httpx.post(f"{url}/encode", json={"input": "a"})
        assert "secret" not in refused(answer, 500, "input[0]")
    assert "/secret/path" in caplog.text


@pytest.mark.parametrize(
    "header",
    [None, "Bearer", "Bearer  x", "Bearer secret-ke", "Bearer secret-keys", "Basic secret-key"],
    ids=str,
)
def test_other_keys_are_refused_before_the_body_is_read(make_app, header):
    headers = {} if header is None else {"authorization": header}
    with running(make_app(api_key="secret-key", max_body_bytes=1024)) as url:
        for route in ("/encode", "/decode", "/compare", "/v1/embeddings"):
            answer = httpx.post(f"{url}{route}", content=b"x" * 5000, headers=headers)
            refused(answer, 401, None, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert httpx.get(f"{url}/metrics", headers=headers).status_code == 401
        assert httpx.get(f"{url}/ready", headers=headers).status_code == 200
        good = {"authorization": "bearer secret-key"}
        assert httpx.post(f"{url}/encode", json={"input": "a"}, headers=good).status_code == 200


def test_key_is_compared_in_constant_time(make_app, monkeypatch):
    compared = []

    def compare(one, other):
        compared.append((one, other))
        return one == other

    monkeypatch.setattr("latticegraph.serving.guard.secrets.compare_digest", compare)
    with running(make_app(api_key="secret-key")) as url:
        httpx.get(f"{url}/metrics", headers={"authorization": "Bearer other"})
    assert compared == [(b"other", b"secret-key")]


def test_the_end_of_the_lifespan_finishes_what_was_accepted(make_app, model):
    app = make_app()
    service, gate, before = app.state.service, Gate(app), set(threading.enumerate())

    async def main():
        async with app.router.lifespan_context(app):
            asked = service.texts(["a crow"], {"embedding"}, time.monotonic() + 10)
            task = asyncio.create_task(asked)
            await asyncio.to_thread(gate.entered.wait, 10)
            asyncio.get_running_loop().call_later(0.05, gate.open.set)
        assert service.batcher.state == "draining"
        left = set(threading.enumerate()) - before
        assert not any(one.name.startswith("latticegraph-") for one in left)
        return await task

    (made,), tokens = asyncio.run(main())
    assert tokens == 2
    np.testing.assert_allclose(
        made.arrays["embedding"], model.encode("a crow")[0], rtol=1e-4, atol=1e-5
    )
