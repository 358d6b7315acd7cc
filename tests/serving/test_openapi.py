"""Requests generated from the server's own OpenAPI, valid and not, against its declared answers."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

from tests.serving.conftest import CODE, WIDTH, running

KEY = "secret-key"
# A list above the limit is refused with 413.
REFUSALS = [400, 401, 404, 405, 413]
TOO_MANY = {"checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}}}


@pytest.fixture(scope="module")
def api(make_app):
    with running(make_app(api_key=KEY, max_inputs=4)) as url:
        config = SchemathesisConfig.from_dict(
            {"headers": {"Authorization": f"Bearer {KEY}"}, "base-url": url, **TOO_MANY}
        )
        yield schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)


POSTS = ["/v1/embeddings", "/encode", "/decode", "/compare"]
GETS = ["/v1/models", "/health", "/ready", "/info", "/metrics"]
CASES = [(path, "POST", mode) for mode in GenerationMode for path in POSTS]
# Without a body or parameters nothing about a request can be wrong.
CASES += [(path, "GET", GenerationMode.POSITIVE) for path in GETS]


@pytest.mark.parametrize(("path", "method", "mode"), CASES, ids=lambda value: value)
def test_answers_are_as_declared(api, path, method, mode):
    operation = api[path][method]

    @settings(
        max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case):
        case.call_and_validate(timeout=20)

    ask()


def test_every_route_is_asked(api):
    found = {(r.ok().path, r.ok().method.upper()) for r in api.get_all_operations()}
    assert found == {(path, method) for path, method, _ in CASES}


def test_schema_states_the_limits_of_this_model(make_app):
    app = make_app(api_key=KEY, max_inputs=4)
    made = app.openapi()
    schemas = made["components"]["schemas"]
    assert schemas["EncodeRequest"]["properties"]["input"]["anyOf"][1]["maxItems"] == 4
    codes = schemas["DecodeRequest"]["properties"]["codes"]
    assert (codes["items"]["minItems"], codes["items"]["maxItems"]) == (CODE, CODE)
    assert schemas["EmbeddingsRequest"]["properties"]["model"]["enum"] == ["tiny"]
    assert schemas["EmbeddingsRequest"]["properties"]["dimensions"]["enum"] == [WIDTH, None]
    guarded = {path for path, m in made["paths"].items() for o in m.values() if "security" in o}
    assert guarded == {
        "/v1/embeddings", "/v1/models", "/encode", "/decode", "/compare", "/metrics"
    }  # fmt: skip
    for methods in made["paths"].values():
        for operation in methods.values():
            assert "422" not in operation["responses"]
    posts = made["paths"]["/encode"]["post"]["responses"]
    assert set(posts) == {"200", "400", "401", "408", "413", "429", "500", "503", "504"}
    assert "Retry-After" in posts["429"]["headers"]
