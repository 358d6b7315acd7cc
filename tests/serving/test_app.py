"""Routes and errors of the server, over a socket."""

from __future__ import annotations

import html
import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from latticegraph.serving.engine import ROWS
from tests.serving.asking import embed, refused, sample
from tests.serving.conftest import BANK, CODE, WIDTH, running

TEXTS = [f"text {i} of the {'sea' if i % 3 else 'hill'}" for i in range(2 * ROWS)]


@pytest.fixture(scope="module")
def app(make_app):
    return make_app(max_inputs=2 * ROWS)


@pytest.fixture(scope="module")
def client(app):
    with running(app) as url, httpx.Client(base_url=url, timeout=20) as made:
        yield made


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
