"""The load benchmark on the tiny model: its own checks hold, and they can fail."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def load():
    """The script, which imports its neighbour by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield importlib.import_module("serve_load")
        for name in ("serve_load", "serve_soak", "serve_client"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def expected(load, saved, trust):
    return load.Expected(str(saved), trust, load.make_texts())


@pytest.mark.slow
def test_short_soak_and_drain_find_no_fault(load, expected, saved, trust, capsys, monkeypatch):
    monkeypatch.setattr(sys.modules["serve_soak"], "BURST_EVERY_S", 0.5)
    with load.started(str(saved), trust, "--max-queue-tokens", "800") as server:
        soak = asyncio.run(load.Soak(server, expected, 2.0).run())
        assert soak["faults"] == []
        answers = soak["answers"]
        assert {name.split()[0] for name in answers} == {
            "burst", "good", "left", "malformed", "oversized"
        }  # fmt: skip
        assert answers["good 200"] > 10
        assert answers["burst 429"] > 10
        told = {name: count for name, count in soak["metrics"].items() if 'status="5' in name}
        assert told == {}
        drain = asyncio.run(load.drain(server, expected, clients=1))
    assert (drain["right"], drain["exit_status"]) == (1, -15)
    result = {"soak": soak | {"rss_growth": 0.0}, "drain": drain}
    result["failed"] = load.failed(result, least_ratio=3.0)
    assert result["failed"] == []
    load.show(result)
    assert "burst 429" in capsys.readouterr().out


@pytest.mark.slow
def test_clients_at_once_are_compared_with_one(load, expected, saved, trust, monkeypatch):
    monkeypatch.setattr(load, "CLIENTS", (2, 3))
    with load.started(str(saved), trust) as server:
        found = asyncio.run(load.compare_clients(server, expected, 0.3, 10_000.0))
    assert [row["clients"] for row in found["rows"]] == [1, 2, 3]
    best = max(found["rows"], key=lambda row: row["per_s"])
    assert found["best"] == best
    assert found["ratio"] == pytest.approx(best["per_s"] / found["rows"][0]["per_s"])


def test_wrong_rows_are_noticed(load, expected):
    texts = expected.texts[:2]

    def answer(rows):
        import base64
        import json

        data = [{"embedding": base64.b64encode(row.tobytes()).decode()} for row in rows]
        return json.dumps({"data": data}).encode()

    rows = np.array([expected._row_of[text] for text in texts])
    assert expected.is_right(texts, answer(rows))
    assert not expected.is_right(texts, answer(rows[::-1]))
    assert not expected.is_right(texts, answer(np.nextafter(rows, 9)))
    assert not expected.is_right(texts, answer(rows[:1]))


def test_every_check_can_fail(load):
    result = {
        "throughput": {"ratio": 2.9},
        "soak": {"answers": {}, "faults": ["status 500"], "rss_growth": 0.06},
        "drain": {"right": 23, "requests": 24},
    }
    assert load.failed(result, least_ratio=3.0) == [
        "expected 3.0 x one client",
        "status 500",
        "no burst was refused, so the queue was never full",
        "resident memory changed by more than 5 %",
        "not every request that was accepted before SIGTERM was answered",
    ]
