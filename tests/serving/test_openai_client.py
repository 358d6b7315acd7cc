"""The real OpenAI client, sync and async, over a socket."""

from __future__ import annotations

import asyncio
import base64

import numpy as np
import openai
import pytest

from tests.serving.conftest import WIDTH, running

TEXTS = ["the sea is deep", "a crow", "bread and bread and bread"]


@pytest.fixture(scope="module")
def address(make_app):
    with running(make_app(api_key="secret-key")) as url:
        yield url


@pytest.fixture
def client(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="secret-key", max_retries=0) as made:
        yield made


@pytest.mark.parametrize("encoding", ["float", "base64", None], ids=str)
def test_list_gives_the_rows_of_encode_in_order(client, model, encoding):
    options = {} if encoding is None else {"encoding_format": encoding}
    answer = client.embeddings.create(model="tiny", input=TEXTS, **options)
    assert [item.index for item in answer.data] == [0, 1, 2]
    found = [item.embedding for item in answer.data]
    if encoding == "base64":
        found = [np.frombuffer(base64.b64decode(text), dtype="<f4") for text in found]
    found = np.array(found, dtype=np.float32)
    assert found.shape == (3, WIDTH)
    np.testing.assert_allclose(found, model.encode(TEXTS), rtol=1e-4, atol=1e-5)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 4 + 2 + 5


def test_single_text_is_a_list_of_one(client, model):
    answer = client.embeddings.create(model="tiny", input="a crow")
    (item,) = answer.data
    np.testing.assert_allclose(item.embedding, model.encode("a crow")[0], rtol=1e-4, atol=1e-5)
    assert (answer.object, item.object, answer.model) == ("list", "embedding", "tiny")


def test_async_clients_at_once_get_their_own_rows(address, model):
    texts = [f"word{i} and more" for i in range(30)]

    async def ask() -> list[list[float]]:
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="secret-key") as client:
            made = [client.embeddings.create(model="tiny", input=text) for text in texts]
            return [answer.data[0].embedding for answer in await asyncio.gather(*made)]

    found = np.array(asyncio.run(ask()))
    np.testing.assert_allclose(found, model.encode(texts), rtol=1e-4, atol=1e-5)


def test_model_list(client):
    assert [one.id for one in client.models.list()] == ["tiny"]


@pytest.mark.parametrize(
    ("request_", "error", "param", "code"),
    [
        ({"model": "other"}, openai.NotFoundError, "model", "model_not_found"),
        ({"dimensions": 8}, openai.BadRequestError, "dimensions", "unsupported_dimensions"),
        ({"input": ""}, openai.BadRequestError, "input", "string_too_short"),
        ({"input": []}, openai.BadRequestError, "input", "too_short"),
        ({"input": ["a", ""]}, openai.BadRequestError, "input[1]", "string_too_short"),
        ({"input": [1, 2, 3]}, openai.BadRequestError, "input[0]", "string_type"),
        ({"input": [[1], [2]]}, openai.BadRequestError, "input[0]", "string_type"),
        (
            {"input": ["a", "b " * 21]},
            openai.BadRequestError,
            "input[1]",
            "context_length_exceeded",
        ),
        ({"input": ["a"] * 33}, openai.APIStatusError, "input", "too_many_inputs"),
        ({"extra_body": {"hot": 1}}, openai.BadRequestError, "hot", "extra_forbidden"),
        (
            {"encoding_format": "int8"},
            openai.BadRequestError,
            "encoding_format",
            "literal_error",
        ),
    ],
    ids=[
        "model",
        "dimensions",
        "empty text",
        "no text",
        "empty text in list",
        "token ids",
        "lists of token ids",
        "too long",
        "too many",
        "unknown field",
        "encoding",
    ],
)
def test_errors_have_openai_s_shape(client, request_, error, param, code):
    with pytest.raises(error) as caught:
        client.embeddings.create(**({"model": "tiny", "input": "a"} | request_))
    assert (caught.value.status_code == 413) == (code == "too_many_inputs")
    assert (caught.value.param, caught.value.code) == (param, code)
    assert caught.value.type == "invalid_request_error"
    assert "expected" in caught.value.message or param in caught.value.message


def test_token_ids_are_refused_in_words(client):
    with pytest.raises(openai.BadRequestError, match=r"token ids are not accepted.*send text"):
        client.embeddings.create(model="tiny", input=[5, 6])


def test_own_width_and_truncation_are_accepted(client, model):
    answer = client.embeddings.create(
        model="tiny", input="b " * 50, dimensions=WIDTH, extra_body={"truncate": True}
    )
    assert answer.usage.total_tokens == 20
    expected = model.encode("b " * 50)[0]
    rounding = 32 * np.finfo(np.float32).eps * np.abs(expected).max()
    np.testing.assert_allclose(answer.data[0].embedding, expected, rtol=0, atol=rounding)


def test_wrong_key_is_an_authentication_error(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="secret-kez", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.embeddings.create(model="tiny", input="a")
        assert caught.value.code == "invalid_api_key"
