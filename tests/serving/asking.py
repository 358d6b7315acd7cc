"""What tests ask of a server, and how they look at its answers and counts."""

from __future__ import annotations

import base64

import numpy as np


def sample(app, name, **labels):
    registry = app.state.service.metrics.registry
    return registry.get_sample_value(f"latticegraph_{name}", labels) or 0.0


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
