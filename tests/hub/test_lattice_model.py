"""A saved model comes back bit for bit, or says what is wrong with it."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from latticegraph.config import Config
from latticegraph.digests import tensors_sha256
from latticegraph.errors import CheckpointError, ConfigError, DataError, TeacherError
from latticegraph.hub import LatticeModel, LatticeModelConfig, TeacherIdentity
from latticegraph.lattice import LatticeGraph
from latticegraph.model import build_student
from latticegraph.teachers import build_teacher
from tests.hub.small import small_config

TEXTS = ["one", "two 🙂", "three", "four", "five"]


@pytest.fixture
def model(tmp_path):
    """A 3 x 4 x 5 lattice with a teacher of five texts."""
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(5, 12)).astype("float32"))
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    teacher = {
        "kind": "array",
        "name": str(tmp_path / "rows.npy"),
        "texts": str(tmp_path / "texts.txt"),
        "dimension": 12,
    }
    config = small_config(teacher)
    graph = LatticeGraph.build(config.lattice)
    student = build_student(config.model, graph, 12, seed=3)
    rows = torch.randn(30, 12)
    student.start_from_data(rows, rows)
    identity = TeacherIdentity.of(build_teacher(config.teacher), config.teacher)
    return LatticeModel(student, graph, LatticeModelConfig.of(config, identity))


@pytest.fixture
def saved(model, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def rewrite(folder, change_config=None, change_tensors=None):
    """Change a saved model and sign it anew, as another program could."""
    text = (folder / "config.json").read_text(encoding="utf-8")
    if change_config is not None:
        tree = json.loads(text)
        change_config(tree)
        text = json.dumps(tree)
        (folder / "config.json").write_text(text, encoding="utf-8")
    path = folder / "model.safetensors"
    tensors = load_file(path)
    if change_tensors is not None:
        change_tensors(tensors)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() | {"sha256": tensors_sha256(tensors, text)}
    save_file(tensors, path, metadata)


def test_saved_model_predicts_bit_for_bit_the_same(model, saved):
    again = LatticeModel.from_pretrained(saved)
    source_ND = torch.randn(9, 12)
    assert torch.equal(again.predict(source_ND), model.predict(source_ND))
    assert again.config == model.config
    assert sorted(p.name for p in saved.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    card = (saved / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    assert "library_name: latticegraph" in card


def test_encode_is_teacher_then_predict(model, saved):
    again = LatticeModel.from_pretrained(saved)
    source_ND = torch.from_numpy(build_teacher(model.config.teacher).encode(TEXTS))
    made = again.encode(TEXTS, batch_size=2)
    assert made.dtype == np.float32
    assert (made == model.predict(source_ND, 2).numpy()).all()


def test_predict_does_not_depend_on_the_batch(model):
    model.student.double()
    source_ND = torch.randn(11, 12, dtype=torch.float64)
    whole = model.predict(source_ND, 11)
    assert whole.dtype == torch.float64
    for size in (1, 4, 100):
        torch.testing.assert_close(model.predict(source_ND, size), whole, rtol=1e-9, atol=1e-9)
    assert model.run(source_ND, 4).steps_used == 3.0


@pytest.mark.parametrize("shape", [(0, 12), (3, 11), (12,)])
def test_predict_rejects_other_shapes(model, shape):
    with pytest.raises(DataError, match=r"embeddings: expected at least one row of width 12, got"):
        model.predict(torch.zeros(shape))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_one_flipped_bit_anywhere_is_noticed(saved, name):
    path = saved / name
    whole = path.read_bytes()
    places = np.random.default_rng(0).integers(len(whole), size=40).tolist()
    for place in [*places, 0, len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises((CheckpointError, ConfigError), match="expected"):
            LatticeModel.from_pretrained(saved)
    path.write_bytes(whole)
    LatticeModel.from_pretrained(saved)


def test_missing_file_is_named(saved):
    (saved / "model.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"got one without model\.safetensors\. Name a folder"
    ):
        LatticeModel.from_pretrained(saved)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop("mean_D"), r"tensor 'mean_D' of shape \[12\], got none"),
        (lambda t: t.update(extra=torch.ones(2)), r"'extra' of shape no such tensor, got \[2\]"),
        (lambda t: t.update(mean_D=torch.ones(3)), r"'mean_D' of shape \[12\], got \[3\]"),
        (lambda t: t.update(mean_D=t["mean_D"].double()), r"torch.float32, got torch.float64"),
    ],
)
def test_tensors_that_do_not_fit_are_named(saved, change, says):
    rewrite(saved, change_tensors=change)
    with pytest.raises(CheckpointError, match=says):
        LatticeModel.from_pretrained(saved)


def with_tables(lattice):
    config = Config.model_validate(
        {
            "lattice": {"adaptive_radius_min": 1.6, **lattice},
            "model": {
                "state_channels": 4,
                "messages": {"heads": 4, "weights": "table", "bounded": False},
                "dynamics": {"steps": 3, "min_steps": 3},
            },
            "teacher": {"dimension": 12},
        }
    )
    graph = LatticeGraph.build(config.lattice)
    student = build_student(config.model, graph, 12, seed=3)
    return LatticeModel(student, graph, LatticeModelConfig.of(config, None))


def test_model_with_tables_comes_back_and_fits_no_other_lattice(tmp_path):
    made = with_tables({"dimensions": [3, 4, 5]})
    made.save_pretrained(tmp_path / "saved")
    rows = torch.randn(7, 12)
    again = LatticeModel.from_pretrained(tmp_path / "saved")
    assert torch.equal(again.predict(rows), made.predict(rows))
    # The same cells and faces; the larger radius alone has more offsets.
    other = with_tables({"dimensions": [3, 4, 5], "adaptive_radius_min": 2.3})
    with pytest.raises(
        CheckpointError,
        match=r"'dynamics\.experts\.distant\.edge_weights\.weight_OH' of shape \[\d+, 4\], got "
        r"\[12, 4\]\. A table of edge weights \(model\.messages\.weights\) has a row",
    ):
        LatticeModel.build(other.config, made.student.state_dict(), tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t["model"].update(chanels=3), r"model\.chanels: unknown key"),
        (lambda t: t["model"].pop("surface_channels"), r"value for 'model\.surface_channels'"),
        (lambda t: t.update(version=7), r"expected model format 1, got 7"),
        (lambda t: t.update(format="other"), r"got JSON of something else"),
    ],
)
def test_keys_that_do_not_fit_are_named(saved, change, says):
    rewrite(saved, change_config=change)
    with pytest.raises(CheckpointError, match=says):
        LatticeModel.from_pretrained(saved)


def test_another_teacher_is_refused(model, saved, tmp_path):
    shutil.copy(tmp_path / "rows.npy", tmp_path / "other.npy")
    settings = model.config.teacher.model_copy(update={"name": str(tmp_path / "other.npy")})
    again = LatticeModel.from_pretrained(saved, teacher=build_teacher(settings))
    assert again.encode(TEXTS).shape == (5, 12)  # the same rows under another name
    np.save(tmp_path / "other.npy", np.ones((5, 12), dtype="float32"))
    other = build_teacher(settings)
    with pytest.raises(TeacherError, match=r"expected the teacher that the model was trained with"):
        LatticeModel.from_pretrained(saved, teacher=other)
    np.save(tmp_path / "rows.npy", np.ones((5, 12), dtype="float32"))
    with pytest.raises(TeacherError, match=r"expected the teacher that the model was trained with"):
        LatticeModel.from_pretrained(saved).encode(TEXTS)


@pytest.mark.parametrize("place", ["model.transformer", "teacher"])
def test_untrusted_class_is_refused_and_never_imported(saved, tmp_path, monkeypatch, place):
    (tmp_path / "evil_module.py").write_text(
        "from pathlib import Path\nPath('ran').touch()\nclass Evil: pass\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for path in ("evil_module.py:Evil", "evil_module:Evil"):

        def change(tree, path=path):
            for key in place.split("."):
                tree = tree[key]
            tree["kind"] = path

        rewrite(saved, change_config=change)
        with pytest.raises(ConfigError, match=rf"runs the code of \['{path}'\].*pass trust="):
            LatticeModel.from_pretrained(saved, trust=["other.py:Class"])
    assert not (tmp_path / "ran").exists()
    assert "evil_module" not in sys.modules
    assert not any("evil_module" in name for name in sys.modules)


def test_auto_means_what_suits_the_device_that_the_model_will_run_on(saved, monkeypatch):
    asked = []

    def resolve(settings, graph, batch, device, whole=True):
        asked.append(device)
        return "spmm"

    monkeypatch.setattr("latticegraph.hub.stored_model.resolve_backend", resolve)
    assert LatticeModel.from_pretrained(saved).device.type == "cpu"
    # A device without memory stands for the GPU.
    assert LatticeModel.from_pretrained(saved, device="meta").device.type == "meta"
    assert asked == ["cpu", "meta"]
