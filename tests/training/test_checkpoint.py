from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import latticegraph.training.checkpoint as module
from latticegraph.config import Config
from latticegraph.errors import CheckpointError
from latticegraph.files import remove_partial_files
from latticegraph.hub import LatticeModelConfig, TeacherIdentity, load_weights
from latticegraph.training import Checkpoint, TrainingProgress, read_checkpoint, write_checkpoint
from latticegraph.training.origin import Origin

TENSORS = {
    "w": torch.tensor([[1.0, -0.0], [float("nan"), 1e-42]]),
    "scalar": torch.tensor(3.5),
    "empty": torch.zeros(2, 0),
    "turned": torch.arange(6.0).reshape(2, 3).t(),
    "count": torch.tensor([7], dtype=torch.int64),
}


def _checkpoint(update=5):
    progress = TrainingProgress(
        update, 1, "main", {"scale": 2.0}, {"Mine": {"x": 0.1 + 0.2, "y": None}}
    )
    state = torch.get_rng_state()
    return Checkpoint(
        Config(),
        progress,
        TENSORS,
        {"exp_avg.w": TENSORS["w"].clone()},
        {"cpu": state},
        average={"weights.w": TENSORS["w"] + 1, "updates": torch.tensor(4)},
        teacher=TeacherIdentity(kind="packaged", name="ü", dimension=384, fingerprint="f" * 64),
        origin=Origin(train_text="1" * 64, validation_text=None, embeddings="2" * 64, machine="m"),
    )


def test_everything_comes_back_bit_for_bit(tmp_path):
    path = tmp_path / "new" / "last.safetensors"
    written = _checkpoint()
    write_checkpoint(path, written)
    read = read_checkpoint(path)
    assert read.config == written.config
    assert read.progress == written.progress
    assert read.teacher == written.teacher
    assert read.origin == written.origin
    for part in ("student", "optimizer", "average", "random", "means"):
        one, two = getattr(written, part), getattr(read, part)
        assert one.keys() == two.keys()
        for name in one:
            assert one[name].dtype == two[name].dtype
            assert one[name].contiguous().numpy().tobytes() == two[name].numpy().tobytes()
    assert [file.name for file in path.parent.iterdir()] == ["last.safetensors"]


def test_one_flipped_bit_anywhere_is_noticed(tmp_path):
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, _checkpoint())
    whole = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(len(whole), (150,), generator=generator).tolist()
    for place in [*places, 0, 7, len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            read_checkpoint(path)


def test_flipped_weight_is_named_damage(tmp_path):
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, _checkpoint())
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=r"damaged or foreign file \(its checksum does not"):
        read_checkpoint(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_file_is_refused(tmp_path, share):
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, _checkpoint())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(
        CheckpointError, match=r"expected an intact checkpoint, got a damaged.*Resume from another"
    ):
        read_checkpoint(path)


def test_missing_foreign_and_other_files_are_refused(tmp_path):
    path = tmp_path / "last.safetensors"
    with pytest.raises(CheckpointError, match=r"expected a checkpoint, got no such file"):
        read_checkpoint(path)
    save_file({"w": torch.ones(3)}, path)
    with pytest.raises(CheckpointError, match=r"got a safetensors file of something else\. Name"):
        read_checkpoint(path)
    path.write_text("ünknown", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"damaged or foreign"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (2, r"got 2, written by an older version of latticegraph\. Use that version, or train ag"),
        (4, r"expected checkpoint format 3, got 4\. Use the version of latticegraph that wrote it"),
    ],
)
def test_other_format_version_is_refused(tmp_path, monkeypatch, version, says):
    path = tmp_path / "last.safetensors"
    monkeypatch.setattr(module, "VERSION", version)
    write_checkpoint(path, _checkpoint())
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(path)


def test_settings_of_another_version_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "last.safetensors"
    text = LatticeModelConfig.of(Config(), None).to_json().replace("surface_channels", "channels")
    monkeypatch.setattr(LatticeModelConfig, "to_json", lambda self: text)
    write_checkpoint(path, _checkpoint())
    with pytest.raises(CheckpointError, match=r"settings that this version of latticegraph knows"):
        read_checkpoint(path)


def test_metadata_holds_the_settings_of_the_saved_model(tmp_path):
    path = tmp_path / "last.safetensors"
    written = _checkpoint()
    write_checkpoint(path, written)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["model"] == LatticeModelConfig.of(written.config, written.teacher).to_json()
    assert json.loads(metadata["trainer"])["progress"] == written.progress.to_json()


def test_callbacks_that_json_cannot_hold_are_refused(tmp_path):
    progress = TrainingProgress(callbacks={"mine": {"value": torch.ones(1)}})
    wanted = r"state of callbacks that JSON can hold, got: .*Tens"
    with pytest.raises(CheckpointError, match=wanted):
        write_checkpoint(tmp_path / "last.safetensors", Checkpoint(Config(), progress, {}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["save_file", "fsync"])
def test_full_disk_keeps_the_previous_checkpoint(tmp_path, monkeypatch, name):
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, _checkpoint(1))

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module if name == "save_file" else os, name, refuse)
    with pytest.raises(
        CheckpointError, match=r"expected to write a checkpoint, got: .*No space left.*Free disk"
    ):
        write_checkpoint(path, _checkpoint(2))
    monkeypatch.undo()
    assert read_checkpoint(path).progress.update == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.safetensors"]


REFUSED_THEN_KILLED = """
import os, resource, signal, sys
from pathlib import Path
import torch
import latticegraph.files as atomic
from latticegraph.config import Config
from latticegraph.errors import CheckpointError
from latticegraph.training import Checkpoint, TrainingProgress, read_checkpoint, write_checkpoint

path = Path(sys.argv[1])
write_checkpoint(path, Checkpoint(Config(), TrainingProgress(update=1), {"w": torch.ones(9)}))
large = Checkpoint(Config(), TrainingProgress(update=2), {"w": torch.ones(300_000)})
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, resource.RLIM_INFINITY))
try:
    write_checkpoint(path, large)
except CheckpointError as error:
    print(error)
print(read_checkpoint(path).progress.update, len(list(path.parent.iterdir())), flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
atomic.os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
write_checkpoint(path, large)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")
def test_refusal_and_kill_in_mid_write_leave_the_previous_checkpoint(tmp_path):
    path = tmp_path / "last.safetensors"
    command = [sys.executable, "-c", REFUSED_THEN_KILLED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    refused, kept = done.stdout.splitlines()
    assert "expected to write a checkpoint, got: " in refused
    assert "the previous checkpoint is kept" in refused
    assert kept == "1 1"
    assert len(list(tmp_path.iterdir())) == 2
    assert read_checkpoint(path).progress.update == 1
    (partial,) = remove_partial_files(tmp_path)
    assert not partial.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["last.safetensors"]


def test_load_weights_names_the_tensor_that_does_not_fit(tmp_path):
    path = tmp_path / "x.safetensors"
    source, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    load_weights(path, other, source.state_dict())
    assert torch.equal(source.weight, other.weight)
    with pytest.raises(CheckpointError, match=r"tensor 'weight' of shape \[2, 3\], got \[2, 4\]"):
        load_weights(path, other, torch.nn.Linear(4, 2).state_dict())
    with pytest.raises(CheckpointError, match=r"tensor 'bias' of shape \[2\], got none"):
        load_weights(path, other, {"weight": source.weight})
    with pytest.raises(
        CheckpointError, match=r"tensor 'bias' of torch\.float32, got torch\.float64"
    ):
        load_weights(path, other, source.double().state_dict())


def test_other_tools_can_read_the_weights(tmp_path):
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, _checkpoint())
    assert load_file(path)["student/scalar"] == 3.5
