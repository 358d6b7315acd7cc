"""Routes, limits and errors of the server, over a socket."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from latticegraph.serving.engine import ROWS
from tests.serving.conftest import BANK, CODE, WIDTH, running

TEXTS = [f"text {i} of the {'sea' if i % 3 else 'hill'}" for i in range(2 * ROWS)]


@pytest.fixture(scope="module")
def app(make_app):
    return make_app(max_inputs=2 * ROWS)


@pytest.fixture(scope="module")
def client(app):
    with running(app) as url, httpx.Client(base_url=url, timeout=20) as made:
        yield made


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


def sample(app, name, **labels):
    registry = app.state.service.metrics.registry
    return registry.get_sample_value(f"latticegraph_{name}", labels) or 0.0


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def embed(client, texts, encoding="base64"):
    body = {"model": "tiny", "input": texts, "encoding_format": encoding}
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    rows = [item["embedding"] for item in answer.json()["data"]]
    if encoding == "base64":
        return np.array([np.frombuffer(base64.b64decode(row), "<f4") for row in rows])
    return np.array(rows, dtype=np.float32)


def refused(answer, status, param=None, code=None):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["param"], error["code"]) == (param, code)
    return error["message"]


def test_vectors_are_those_of_encode_in_passes_of_the_same_rows_bit_for_bit(client, model):
    expected = model.encode(TEXTS, batch_size=ROWS)
    assert np.array_equal(embed(client, TEXTS), expected)
    assert np.array_equal(embed(client, TEXTS, "float"), expected)
    alone = model.encode([TEXTS[3]] * ROWS, batch_size=ROWS)[:1]
    assert np.array_equal(embed(client, TEXTS[3]), alone)


def test_vectors_do_not_depend_on_what_is_computed_with_them(client, model):
    expected = model.encode(TEXTS, batch_size=ROWS)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: embed(client, text)[0], TEXTS))
    assert np.array_equal(found, expected)


def test_encode_gives_embeddings_or_codes(client, model):
    answer = client.post("/encode", json={"input": TEXTS[:2]}).json()
    np.testing.assert_allclose(answer["rows"], model.encode(TEXTS[:2]), rtol=1e-4, atol=1e-5)
    assert (answer["model"], answer["output"]) == ("tiny", "embedding")
    answer = client.post("/encode", json={"input": "text one", "output": "code"}).json()
    expected = model.encode("text one", output="code")
    assert expected.shape == (1, CODE)
    np.testing.assert_allclose(answer["rows"], expected, rtol=1e-4, atol=1e-5)
    assert answer["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


def test_decode_brings_codes_and_teacher_embeddings_back(client, model):
    codes = model.encode(TEXTS[:3], output="code")
    answer = client.post("/decode", json={"codes": codes.tolist()}).json()
    np.testing.assert_allclose(answer["embeddings"], model.decode_code(codes), rtol=1e-4, atol=1e-5)
    assert answer["nearest"] is None
    rows = model.teacher.encode(TEXTS[:3])
    answer = client.post("/decode", json={"embeddings": rows.tolist()}).json()
    np.testing.assert_allclose(answer["embeddings"], model.encode(TEXTS[:3]), rtol=1e-4, atol=1e-5)


def test_decode_finds_the_nearest_sentences_of_the_bank(client, model, bank):
    codes = model.encode(BANK, output="code")
    answer = client.post("/decode", json={"codes": codes.tolist(), "nearest": 2}).json()
    expected = bank.decode(model.decode_code(codes), 2)
    for found, wanted in zip(answer["nearest"], expected, strict=True):
        assert [one["text"] for one in found] == [one.text for one in wanted]
        assert [one["cosine"] for one in found] == pytest.approx(
            [one.cosine for one in wanted], abs=1e-5
        )
    assert [found[0]["text"] for found in answer["nearest"]] == BANK
    every = client.post("/decode", json={"codes": codes.tolist(), "nearest": 100}).json()
    assert [len(found) for found in every["nearest"]] == [3, 3, 3]


def test_compare_gives_both_cosines_and_codes(client, model):
    texts = ["the sea is deep", "the sea is blue"]
    answer = client.post("/compare", json={"texts": texts}).json()

    def cosine(rows):
        return rows[0] @ rows[1] / np.linalg.norm(rows[0]) / np.linalg.norm(rows[1])

    assert answer["teacher_cosine"] == pytest.approx(cosine(model.teacher.encode(texts)), abs=1e-5)
    assert answer["cube_cosine"] == pytest.approx(cosine(model.encode(texts)), abs=1e-5)
    assert answer["teacher_cosine"] != pytest.approx(answer["cube_cosine"], abs=1e-3)
    np.testing.assert_allclose(
        answer["codes"], model.encode(texts, output="code"), rtol=1e-4, atol=1e-5
    )
    assert answer["nearest"][0][0]["text"] == texts[0]


def test_state_routes(client):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}
    info = client.get("/info").json()
    assert (info["face"], info["face_axes"]) == ([4, 5], ["y", "z"])
    assert (info["code"], info["embedding"], info["max_tokens"]) == (CODE, WIDTH, 20)
    assert (info["bank"], info["needs_key"]) == (3, False)


def test_docs_page_shows_every_route_and_asks_nobody_else(client):
    answer = client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    page, schema = answer.text, client.get("/openapi.json").json()
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            assert f"<code>{method.upper()} {path}</code>" in page
            for status, response in operation["responses"].items():
                said = html.escape(response["description"]).split("`")[0]
                assert f"{status} {said}" in page
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!/)", page)
    assert "$ref" not in page
    assert f'"minItems": {CODE}' in page


def test_metrics_count_requests_tokens_and_batches(client, app):
    before = sample(app, "requests_total", route="/encode", status="200")
    tokens = sample(app, "tokens_total")
    client.post("/encode", json={"input": ["one two three", "four"]})
    client.get("/nowhere")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    wanted = f'latticegraph_requests_total{{route="/encode",status="200"}} {before + 1}'
    assert wanted in lines
    assert f"latticegraph_tokens_total {tokens + 4}" in lines
    assert any(
        line.startswith('latticegraph_requests_total{route="other",status="404"}') for line in lines
    )
    for name in ("batch_items", "batch_padded_tokens", "batch_seconds", "queue_seconds"):
        assert any(line.startswith(f"latticegraph_{name}_count") for line in lines)


def test_every_server_has_counts_of_its_own(make_app):
    first, second = make_app(), make_app()
    first.state.service.metrics.tokens.inc(5)
    assert (sample(first, "tokens_total"), sample(second, "tokens_total")) == (5, 0)


@pytest.mark.parametrize(
    ("route", "body", "param", "code", "words"),
    [
        ("/encode", b"{", None, "invalid_json", "expected JSON"),
        ("/encode", b"\xff\xfe", None, None, ""),
        ("/encode", b"[" * 100_000, None, None, ""),
        ("/encode", b'{"input": ' + b"9" * 5000 + b"}", None, None, ""),
        ("/encode", b'{"input": "\\ud800"}', "input", "string_unicode", ""),
        ("/encode", b'{"input": null}', "input", None, ""),
        ("/encode", b'{"input": "a", "output": "teacher"}', "output", "literal_error", ""),
        ("/decode", b"{}", "codes", "one_of_two", "either codes or embeddings"),
        ("/decode", b'{"codes": null}', "codes", "value_error", "got null"),
        ("/decode", b'{"codes": [[1, 2]]}', "codes[0]", "wrong_width", "20 numbers, got 2"),
        ("/decode", b'{"codes": [[NaN]]}', "codes[0][0]", "finite_number", ""),
        ("/decode", b'{"codes": [[1e999]]}', "codes[0][0]", "finite_number", ""),
        ("/decode", b'{"codes": [[1e7]]}', "codes[0][0]", "less_than_equal", ""),
        ("/compare", b'{"texts": ["a"]}', "texts", "too_short", ""),
        ("/compare", b'{"texts": ["a", "b", "c"]}', "texts", "too_long", ""),
    ],
    ids=lambda value: value[:24].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_wrong_bodies_are_refused(client, route, body, param, code, words):
    headers = {"content-type": "application/json"}
    answer = client.post(route, content=body, headers=headers)
    message = refused(answer, 400, param, code or answer.json()["error"]["code"])
    assert words in message


def test_nearest_needs_a_bank(make_app):
    with running(make_app(with_bank=False)) as url:
        body = {"codes": [[0.0] * CODE], "nearest": 1}
        answer = httpx.post(f"{url}/decode", json=body)
        assert "--bank" in refused(answer, 400, "nearest", "no_bank")
        answer = httpx.post(f"{url}/compare", json={"texts": ["a", "b"]})
        assert answer.json()["nearest"] is None


def test_unknown_routes_and_methods_have_the_same_shape(client):
    refused(client.get("/v2/embeddings"), 404)
    answer = client.get("/v1/embeddings")
    refused(answer, 405)
    assert answer.headers["allow"] == "POST"


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
