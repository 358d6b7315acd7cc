"""States on disk are those of the recorder in memory, and the file is whole or absent."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latticegraph.dynamics import DiskRecorder, StepRecord, TrajectoryRecorder, read_trajectory
from latticegraph.errors import ConfigError, DataError
from latticegraph.hub.inference import run_student
from tests.training.conftest import build, configure, graph

__all__ = ["build", "configure", "graph"]

SAMPLES = 10


def both(student, source_BD, path):
    memory = TrajectoryRecorder()
    with torch.no_grad():
        student(source_BD, recorder=memory)
        with DiskRecorder(path, len(source_BD)) as recorder:
            student(source_BD, recorder=recorder)
            assert not path.exists()
    return memory.trajectory_TCNB.numpy(), read_trajectory(path)


@pytest.fixture
def source_BD():
    return torch.randn(SAMPLES, 16)


@pytest.mark.parametrize("memory", [4.0, 1e-4])
def test_trajectory_is_that_of_the_recorder_in_memory(
    configure, build, source_BD, tmp_path, memory
):
    student = build(configure(model={"max_memory_gb": memory}))
    with torch.no_grad():
        assert (student.dynamics.plan(SAMPLES, 3, 4).samples < SAMPLES) == (memory < 1)
    wanted, found = both(student, source_BD, tmp_path / "deep" / "states.npy")
    assert found.shape == wanted.shape == (4, 4, 60, SAMPLES)
    assert found.dtype == np.float32
    assert np.array_equal(found, wanted)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["states.npy"]


def test_chunks_that_converge_earlier_repeat_their_last_state(
    configure, build, source_BD, tmp_path
):
    dynamics = {"steps": 9, "min_steps": 3, "tolerance": 0.25, "patience": 1}
    student = build(configure(model={"dynamics": dynamics, "max_memory_gb": 2e-4}))
    source_BD[5:] *= 100
    wanted, found = both(student, source_BD, tmp_path / "states.npy")
    steps_B = student(source_BD).steps_B
    assert 3 <= int(steps_B.min()) < int(steps_B.max())
    assert np.array_equal(found, wanted)


def test_batches_become_one_trajectory_in_their_order(configure, build, source_BD, tmp_path):
    student = build(configure()).double().eval()
    path = tmp_path / "states.npy"
    with DiskRecorder(path, SAMPLES) as recorder:
        run_student(student, source_BD.double(), 4, "float32", recorder=recorder)
    whole = TrajectoryRecorder()
    run_student(student, source_BD.double(), SAMPLES, "float32", recorder=whole)
    found = read_trajectory(path)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, whole.trajectory_TCNB.numpy(), rtol=1e-10, atol=1e-12)


def _step(step, samples=2):
    x_CNb = torch.full((1, 3, samples), float(step))
    return StepRecord(step, slice(0, samples), x_CNb - 1, x_CNb, torch.ones(1, 3, samples), {})


@pytest.mark.parametrize("steps", [1, 9, 120])
def test_header_tells_the_number_of_states(tmp_path, steps):
    path = tmp_path / "states.npy"
    with DiskRecorder(path, 2) as recorder:
        for step in range(1, steps + 1):
            recorder.record(_step(step))
    assert read_trajectory(path)[:, 0, 1, 1].tolist() == list(range(steps + 1))


def _record(path, samples, steps):
    with DiskRecorder(path, samples) as recorder:
        for step in steps:
            recorder.record(_step(step))


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "states.npy"
    path.write_bytes(b"before")
    with pytest.raises(TypeError):
        _record(path, 2, [1, None])
    with pytest.raises(DataError, match=r"expected 4 samples in states\.npy, got 0\. Pass the"):
        _record(path, 4, [])
    with pytest.raises(DataError, match=r"expected 4 samples in states\.npy, got 6"):
        _record(path, 4, [1, 1, 1])
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"before"]


def test_wrong_files_and_numbers_are_refused(tmp_path):
    with pytest.raises(DataError, match="expected at least 1 sample, got 0"):
        DiskRecorder(tmp_path / "a.npy", 0)
    (tmp_path / "file").write_bytes(b"no array")
    with (
        pytest.raises(ConfigError, match=r"expected to write '.*b.npy', got: "),
        DiskRecorder(tmp_path / "file" / "b.npy", 1),
    ):
        pass
    np.save(tmp_path / "flat.npy", np.zeros(3))
    for name in ("file", "flat.npy", "absent.npy"):
        with pytest.raises(DataError, match="expected a trajectory of a DiskRecorder, got"):
            read_trajectory(tmp_path / name)
