from __future__ import annotations

import pytest

from latticegraph.errors import CheckpointError
from latticegraph.training import RunFolder, resolve_resume


def _folder(path):
    folder = RunFolder(path)
    folder.checkpoints.mkdir(parents=True)
    folder.metrics.write_bytes(b'{"a": 1}\n{"b": 2}\n')
    return folder


def test_resolve_resume_without_a_checkpoint(tmp_path):
    assert resolve_resume("false", tmp_path) is None
    assert resolve_resume("auto", tmp_path) is None
    for resume in ("true", str(tmp_path / "gone.safetensors")):
        with pytest.raises(
            CheckpointError, match=r"--resume: expected a checkpoint, got no file .*\. Use --resume"
        ):
            resolve_resume(resume, tmp_path)


def test_resolve_resume_with_a_checkpoint(tmp_path):
    folder = _folder(tmp_path / "run")
    folder.last.write_bytes(b"x")
    assert resolve_resume("auto", folder.path) == folder.last
    assert resolve_resume("true", folder.path) == folder.last
    assert resolve_resume(str(folder.last), tmp_path / "other") == folder.last
    with pytest.raises(CheckpointError, match=r"for a new run, got those of an earlier one"):
        resolve_resume("false", folder.path)


def test_prune_keeps_the_newest_and_what_is_not_periodic(tmp_path):
    folder = _folder(tmp_path)
    for epoch in (5, 10, 95, 100, 12345):
        folder.epoch(epoch).write_bytes(b"x")
    other = folder.checkpoints / "epoch-mine.safetensors"
    other.write_bytes(b"x")
    folder.best.write_bytes(b"x")
    folder.prune(2)
    assert [epoch for epoch, _ in folder.periodic()] == [100, 12345]
    assert other.exists()
    assert folder.best.exists()


def test_start_empties_the_metrics_and_removes_partial_files(tmp_path):
    folder = _folder(tmp_path)
    partial = folder.checkpoints / ".last.safetensors.0a.partial"
    partial.write_bytes(b"x")
    folder.start()
    assert folder.metrics.read_bytes() == b""
    assert not partial.exists()


def test_resume_cuts_the_metrics_and_forgets_the_future(tmp_path):
    folder = _folder(tmp_path)
    for path in (folder.epoch(2), folder.epoch(3), folder.best):
        path.write_bytes(b"x")
    partial = folder.checkpoints / ".best.safetensors.0a.partial"
    partial.write_bytes(b"x")
    folder.resume(folder.epoch(2), 2, 9)
    assert folder.metrics.read_bytes() == b'{"a": 1}\n'
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == [
        "best.safetensors",
        "epoch-0002.safetensors",
    ]


def test_resume_without_the_logged_metrics_is_refused(tmp_path):
    folder = _folder(tmp_path)
    for size in (18, 0):
        folder.metrics.write_bytes(folder.metrics.read_bytes()[:size])
        with pytest.raises(
            CheckpointError,
            match=rf"metrics\.jsonl: expected at least the 40 bytes .*got {size}\. Put metrics",
        ):
            folder.resume(folder.last, 1, 40)
    folder.metrics.unlink()
    with pytest.raises(CheckpointError, match=r"got 0\. Put metrics\.jsonl back"):
        folder.resume(folder.last, 1, 40)


def test_resume_from_elsewhere_leaves_the_other_run_alone(tmp_path):
    origin, own = _folder(tmp_path / "origin"), RunFolder(tmp_path / "own")
    origin.best.write_bytes(b"best")
    origin.epoch(9).write_bytes(b"x")
    own.resume(origin.last, 1, 9)
    assert own.metrics.read_bytes() == b'{"a": 1}\n'
    assert own.best.read_bytes() == b"best"
    assert origin.metrics.read_bytes() == b'{"a": 1}\n{"b": 2}\n'
    assert origin.epoch(9).exists()
