"""Files appear whole, or an error says why not."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from latticegraph.errors import ConfigError
from latticegraph.files import write_json


def test_write_json_keeps_every_character(tmp_path: Path) -> None:
    value = {"text": "naïve 🙂", "numbers": [1, 0.1]}
    write_json(tmp_path / "deep" / "a.json", value, "--json")
    data = (tmp_path / "deep" / "a.json").read_bytes()
    assert json.loads(data) == value
    assert "naïve 🙂".encode() in data


def test_write_json_on_a_full_disk_says_so_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "a.json", {"old": 1}, "--json")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"--json: .* got: No space left on device\. Free disk"):
        write_json(tmp_path / "a.json", {"new": 2}, "--json")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
