"""The command: a process that answers, drains after SIGTERM, and refuses to start wrongly."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from latticegraph.cli import main
from tests.serving.conftest import BANK


@contextlib.contextmanager
def served(*options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server on a free port of this machine, and its address."""
    words = [sys.executable, "-m", "latticegraph", "serve", "--port", "0", *options]
    process = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | environment,
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"serving (\S+) on (http://127\.0\.0\.1:\d+)", line):
                break
        else:
            raise AssertionError("".join(said))
        yield process, found[2]
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_server_answers_with_its_bank_and_drains_after_sigterm(saved, trust, tmp_path):
    (tmp_path / "bank.txt").write_text("\n".join(BANK), encoding="utf-8")
    options = ["--model", str(saved), "--trust", *trust, "--bank", str(tmp_path / "bank.txt")]
    options += ["--max-batch-items", "32"]
    with served(*options, LATTICEGRAPH_API_KEY="secret-key") as (process, url):
        headers = {"authorization": "Bearer secret-key"}
        assert httpx.post(f"{url}/encode", json={"input": "a"}).status_code == 401
        info = httpx.get(f"{url}/info").json()
        assert (info["model"], info["bank"]) == ("tiny", 3)
        body = {"input": ["slow " * 20] * 32}

        def ask(_):
            return httpx.post(f"{url}/encode", json=body, headers=headers, timeout=30)

        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(ask, number) for number in range(4)]
            waiting = f"latticegraph_queued_tokens {3 * 32 * 20}.0"
            end = time.monotonic() + 10
            while waiting not in httpx.get(f"{url}/metrics", headers=headers).text.splitlines():
                assert time.monotonic() < end
            # One request is computed, and three wait.
            process.send_signal(signal.SIGTERM)
            answers = [future.result() for future in asked]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert [len(answer.json()["rows"]) for answer in answers] == [32] * 4
        assert process.wait(20) == -signal.SIGTERM
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health")


def refusal(capsys, *options):
    assert main(["serve", *options]) == 2
    return capsys.readouterr().err


def test_port_that_is_taken_is_refused(capsys, saved):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refusal(capsys, "--model", str(saved), "--port", port)
    assert f"--port: expected an address to serve on, got 127.0.0.1:{port}: Address already" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "--host: expected a loopback address"),
        (["--host", "no.such.host.invalid"], "--host: expected an address to serve on"),
        (
            ["--port", "70000"],
            "--port: expected an address to serve on, got 127.0.0.1:70000: a port above 65535",
        ),
        (["--max-batch-tokens", "19"], "--max-batch-tokens: expected at least 20"),
        (["--max-queue-tokens", "639"], "--max-queue-tokens: expected at least 640"),
        (["--max-inputs", "0"], "--max-inputs"),
        (["--api-key", "1234"], "--api-key: expected key of at least 8 visible"),
        (["--bank", "missing.txt"], "missing.txt: expected a readable file"),
    ],
    ids=["open host", "unknown host", "port", "budget", "queue", "inputs", "key", "bank"],
)
def test_server_that_cannot_work_is_not_started(capsys, saved, trust, options, words):
    said = refusal(capsys, "--model", str(saved), "--trust", *trust, "--port", "0", *options)
    assert words in said
    assert "1234" not in said


def test_model_that_names_a_class_is_refused_without_trust(capsys, saved):
    assert "Few" in refusal(capsys, "--model", str(saved), "--port", "0")


def test_missing_packages_are_named(capsys, saved, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name)
    )
    said = refusal(capsys, "--model", str(saved))
    assert "without uvicorn" in said
    assert "pip install 'latticegraph[serve]'" in said
