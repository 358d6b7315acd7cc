"""Exported files give what the model gives: torch.export, and ONNX in onnxruntime."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from latticegraph.aggregation import ConvolutionNeighbourhood, PairNeighbourhood
from latticegraph.cli import main
from latticegraph.config import Config
from latticegraph.errors import ConfigError, DataError
from latticegraph.hub import LatticeModel, LatticeModelConfig, export
from latticegraph.lattice import LatticeGraph
from latticegraph.model import build_student

WIDTH = 12
EXPERTS = [
    {"name": "local", "kind": "local", "edges": ["local"]},
    {"name": "functional", "kind": "functional", "edges": ["functional"]},
    {"name": "distant", "kind": "distant", "edges": ["distant"], "options": {"substeps": 2}},
    {"name": "cell", "kind": "cell", "edges": ["functional", "distant"]},
]


def embeddings(samples, dtype=torch.float32):
    """Of unit length, as those of a teacher."""
    rows = 0.3 + torch.randn(samples, WIDTH, dtype=dtype)
    return torch.nn.functional.normalize(rows, dim=1)


def made(lattice=None, model=None, dynamics=None, messages=None, sides=(3, 4, 5)) -> LatticeModel:
    """A small lattice of all kinds of experts, started from random data."""
    tree = {
        "lattice": {"dimensions": list(sides), "adaptive_radius_min": 1.6} | (lattice or {}),
        "model": {
            "state_channels": 4,
            "experts": EXPERTS,
            "messages": {"heads": 2} | (messages or {}),
            "dynamics": {"steps": 3, "min_steps": 3} | (dynamics or {}),
        }
        | (model or {}),
        "teacher": {"kind": "packaged", "dimension": WIDTH},
    }
    config = Config.model_validate(tree)
    graph = LatticeGraph.build(config.lattice)
    student = build_student(config.model, graph, WIDTH, seed=3)
    rows = embeddings(400)
    student.start_from_data(rows, rows.roll(1, 1))
    return LatticeModel(student, graph, LatticeModelConfig.of(config, None))


def by_torch(path):
    program = torch.export.load(path).module()
    return lambda rows: tuple(found.detach().numpy() for found in program(rows))


def by_onnx(path):
    session = onnxruntime.InferenceSession(path)
    return lambda rows: session.run(["prediction", "code"], {"embedding": rows.numpy()})


READERS = {"torch": (".pt2", by_torch), "onnx": (".onnx", by_onnx)}


def check(model, folder, kinds=("torch", "onnx")):
    """Equal to the model's own way of summing, for several numbers of samples."""
    for kind in kinds:
        suffix, read = READERS[kind]
        path = folder / f"model{suffix}"
        model.export(path, kind)
        run = read(path)
        for samples in (1, 2, 7):
            rows = embeddings(samples)
            prediction, code = run(rows)
            np.testing.assert_allclose(prediction, model.predict(rows), rtol=0, atol=1e-5)
            np.testing.assert_allclose(code, model.to_codes(rows), rtol=0, atol=1e-5)


def test_export_of_edges_with_weights_of_their_own(tmp_path, monkeypatch):
    model = made(
        {"numbering": "morton"},
        messages={"weights": "edge", "bounded": True},
        dynamics={"steps": 2, "min_steps": 2},
    )
    kinds = [type(n) for n in export.static_student(model).steps.aggregation.neighbourhoods]
    assert PairNeighbourhood in kinds
    check(model, tmp_path, kinds=("onnx",))
    monkeypatch.setattr(export, "MOST_CELLS", 59)
    with pytest.raises(ConfigError, match=r"expected at most 59 cells for edges .*, got 60"):
        model.export(tmp_path / "large.onnx")


def forms(model):
    """Whether sums over neighbours are matrices, of all experts that have neighbours."""
    found = export.static_student(model).steps.aggregation.neighbourhoods
    dense = (ConvolutionNeighbourhood, PairNeighbourhood)
    return {isinstance(n, PairNeighbourhood) for n in found if isinstance(n, dense)}


def test_export_of_an_open_box(tmp_path):
    check(made(dynamics={"steps": 2, "min_steps": 2}), tmp_path)


@pytest.mark.slow
def test_export_of_cells_that_hear_the_whole_box(tmp_path):
    model = made({"adaptive_radius_min": 5.0}, dynamics={"steps": 1, "min_steps": 1})
    check(model, tmp_path)
    assert forms(model) == {True}
    assert forms(made()) == {False}


@pytest.mark.slow
def test_export_of_a_ring_with_unbounded_tables(tmp_path):
    lattice = {"boundary": "periodic", "numbering": "morton"}
    messages = {"weights": "table", "bounded": False}
    check(made(lattice, dynamics={"steps": 2, "min_steps": 2}, messages=messages), tmp_path)


@pytest.mark.slow
def test_export_of_the_usual_cube(tmp_path):
    check(made(sides=(8, 8, 8), dynamics={"steps": 8, "min_steps": 8}), tmp_path)


CHANGES = {
    "usual": {},
    "bounded table": {"messages": {"weights": "table"}},
    "unbounded table": {"messages": {"weights": "table", "bounded": False}},
    "ring": {"lattice": {"boundary": "periodic"}},
    "unbounded network": {"messages": {"bounded": False, "bumps": 2, "norm": True}},
    "z order": {"lattice": {"numbering": "morton"}},
    "wide ring": {"lattice": {"boundary": "periodic", "adaptive_radius_min": 2.3}},
    "whole box": {"lattice": {"adaptive_radius_min": 5.0}},
    "whole ring": {"lattice": {"adaptive_radius_min": 4.0, "boundary": "periodic"}},
    "top 2 of 4": {"model": {"gating": {"top_k": 2}}},
    "fused": {"model": {"kernel": "fused", "experts": EXPERTS[:3]}},
    "surface alone": {"model": {"mapper": {"readout": "surface", "positional": "learned"}}},
    "hidden layers": {"model": {"transformer": {"kind": "autoencoder", "hidden": 8}}},
    "wire": {"dynamics": {"mode": "wire"}},
    "identity": {"dynamics": {"mode": "identity"}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_exported_equals_the_model_in_double_precision(change):
    model = made(**change)
    model.student.double()
    rows = embeddings(6, torch.float64)
    prediction, code = export.static_student(model)(rows)
    if "mode" not in change.get("dynamics", {}):
        assert prediction.std(0).min() > 0.02  # predictions depend on the text
    torch.testing.assert_close(prediction, model.predict(rows), rtol=0, atol=1e-9)
    torch.testing.assert_close(code, model.to_codes(rows), rtol=0, atol=1e-12)


def test_onnx_file_says_what_it_is(tmp_path):
    model = made(dynamics={"steps": 1, "min_steps": 1}, sides=(2, 4, 5))
    before = model.digest()
    model.export(tmp_path / "model.onnx")
    assert model.digest() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    file = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(file)
    notes = {note.key: note.value for note in file.metadata_props}
    assert notes["latticegraph.sha256"] == before
    assert notes["latticegraph.teacher"] == "unknown"
    kinds = {node.op_type for node in file.graph.node}
    assert "Conv" in kinds
    assert not {"DFT", "ScatterElements", "Loop", "If"} & kinds
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [(p.name, p.shape) for p in session.get_inputs()] == [("embedding", ["batch", WIDTH])]
    assert [p.name for p in session.get_outputs()] == ["prediction", "code"]


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_file_holds_no_path_of_this_machine(tmp_path, kind):
    path = tmp_path / f"model{READERS[kind][0]}"
    made(dynamics={"steps": 1, "min_steps": 1}, sides=(2, 4, 3)).export(path, kind)
    parts = [path.read_bytes()]
    if kind == "torch":
        with zipfile.ZipFile(path) as archive:
            parts = [archive.read(name) for name in archive.namelist()]
    package = Path(export.__file__).parents[1]
    for place in (package, Path(torch.__file__).parents[1]):
        assert not any(str(place).encode() in part for part in parts)


def test_early_stopping_is_refused_with_its_reason(tmp_path):
    model = made(dynamics={"tolerance": 0.01})
    with pytest.raises(ConfigError, match=r"^model\.dynamics\.tolerance: expected 0 .*different"):
        model.export(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_sizes_that_cannot_be_written_out_name_their_limit(tmp_path, monkeypatch):
    many = made(dynamics={"steps": 70, "min_steps": 1})
    with pytest.raises(ConfigError, match=r"^model\.dynamics\.steps: .* 256 steps x experts .*280"):
        many.export(tmp_path / "model.onnx")
    # 27 places of the functional, distant and cell kernels, 60 cells, 4 channels, 3 steps.
    model = made()
    monkeypatch.setattr(export, "MOST_PRODUCTS", 58_319)
    with pytest.raises(ConfigError, match=r"^lattice\.dimensions: .*per sample.*LatticeModel\.pre"):
        model.export(tmp_path / "model.onnx")
    monkeypatch.setattr(export, "MOST_PRODUCTS", 58_320)
    monkeypatch.setattr(export, "MOST_BYTES", 1000)
    with pytest.raises(ConfigError, match=r"expected at most 2 GB of weights.*one ONNX file"):
        model.export(tmp_path / "model.onnx")
    model.export(tmp_path / "model.pt2", "torch")  # has no such limit


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("model.pt2", "onnx", r"ends in \.onnx for format 'onnx', got 'model\.pt2'"),
        ("model.onnx", "torch", r"ends in \.pt2 for format 'torch'"),
        ("model.onnx", "tflite", r"^format: expected 'onnx' or 'torch', got 'tflite'"),
    ],
    ids=["pt2 as onnx", "onnx as pt2", "other"],
)
def test_names_that_do_not_fit_the_format_are_refused(tmp_path, name, kind, says):
    with pytest.raises(DataError, match=says):
        made().export(tmp_path / name, kind)


def test_place_that_cannot_be_written_is_named_before_work(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(export, "static_student", lambda model: pytest.fail("work was done"))
    with pytest.raises(ConfigError, match=r"model\.onnx: expected .*file"):
        made().export(tmp_path / "file" / "model.onnx")


def test_missing_packages_of_onnx_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"package onnx for format.*pip install 'latticegraph\[onn"):
        made().export(tmp_path / "model.onnx")


def test_command_writes_the_file(tmp_path, capsys):
    model = made(dynamics={"steps": 1, "min_steps": 1}, sides=(2, 4, 3))
    model.save_pretrained(tmp_path / "model")
    output = tmp_path / "model.pt2"
    assert main(["export", str(tmp_path / "model"), "--output", str(output)]) == 0
    assert f"bytes: {output}" in capsys.readouterr().out
    rows = embeddings(3)
    np.testing.assert_allclose(by_torch(output)(rows)[0], model.predict(rows), rtol=0, atol=1e-5)
    assert main(["export", str(tmp_path / "model"), "--output", "model.txt"]) == 2
    assert "ends in .onnx" in capsys.readouterr().err


def test_exporters_are_imported_where_they_are_used_alone():
    program = "import sys, latticegraph.hub; print({'onnx', 'onnxscript'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
