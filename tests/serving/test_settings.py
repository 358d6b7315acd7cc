"""What a server refuses to start with."""

from __future__ import annotations

import pytest

from latticegraph.errors import ConfigError
from latticegraph.serving.settings import ServeSettings, check_address


def test_budget_below_the_longest_input_is_refused():
    settings = ServeSettings.of(name="m", max_batch_tokens=127)
    with pytest.raises(ConfigError, match=r"--max-batch-tokens: expected at least 128, .* got 127"):
        settings.check(128)
    ServeSettings.of(name="m", max_batch_tokens=128).check(128)


def test_queue_below_the_largest_request_is_refused():
    settings = ServeSettings.of(name="m", max_inputs=4, max_queue_tokens=511)
    with pytest.raises(ConfigError, match=r"--max-queue-tokens: expected at least 512, .* got 511"):
        settings.check(128)
    ServeSettings.of(name="m", max_inputs=4, max_queue_tokens=512).check(128)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"max_inputs": 0}, r"--max-inputs: .*greater than or equal to 1, got 0"),
        ({"deadline": 0.0}, r"--deadline: .*greater than 0, got 0\.0"),
        ({"deadline": float("nan")}, r"--deadline: .*finite"),
        ({"api_key": "short"}, r"--api-key: expected key of at least 8 visible ASCII characters"),
        ({"api_key": "with a space"}, r"--api-key: expected key of .* visible ASCII"),
        ({"name": ""}, r"--name: "),
    ],
    ids=["inputs", "deadline", "nan", "short key", "key", "name"],
)
def test_values_out_of_range_name_their_option(values, words):
    with pytest.raises(ConfigError, match=words) as caught:
        ServeSettings.of(**({"name": "m"} | values))
    assert "short" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_needs_no_key(host):
    check_address(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7"])
def test_other_addresses_need_a_key(host):
    with pytest.raises(ConfigError, match=r"--host: expected a loopback address .* or an API key"):
        check_address(host, None)
    check_address(host, "secret-key")
